"""The server's durable state: one writer, many readers, effects handed out after the commit."""

from __future__ import annotations
