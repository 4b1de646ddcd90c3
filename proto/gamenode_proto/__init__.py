"""The interface between GameNode's programs, and the conventions that all of them share."""

from __future__ import annotations
