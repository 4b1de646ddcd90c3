"""Logs of steps as files beside the database: taken by offset, proven by hash, kept by age and size."""

from __future__ import annotations

from gamenode_server.logs.log_store import LogSlice, LogStore
from gamenode_server.logs.refs import LogRef, LogStatus

__all__ = ["LogRef", "LogSlice", "LogStatus", "LogStore"]
