"""The agent's side of the wire: sessions, reconnecting, logs, renewal. Knows no process and no Docker."""

from __future__ import annotations
