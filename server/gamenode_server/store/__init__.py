"""The server's durable state: one writer, many readers, effects handed out after the commit."""

from __future__ import annotations

from gamenode_server.store.store import Store, open_store
from gamenode_server.store.tx import Tx

__all__ = ["Store", "Tx", "open_store"]
