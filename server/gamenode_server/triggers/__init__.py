"""Pipelines that start because something happened."""
