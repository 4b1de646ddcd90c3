"""The audit log of a running server: verifying it from the database, and marking how far it has come."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_pipelines.errors import GameNodeError
from gamenode_server.audit.checkpoints import Checkpoint, append_checkpoint, read_checkpoints
from gamenode_server.audit.verify import ChainWalk, Verification
from gamenode_server.store import Store, queries

logger = logging.getLogger(__name__)

_PAGE = 1000


class Ledger:
    """Verifies and marks. `checkpoints` is the file of marks."""

    def __init__(self, store: Store, *, key: bytes, signer: Ed25519PrivateKey, checkpoints: Path) -> None:
        self._store = store
        self._key = key
        self._signer = signer
        self._checkpoints = checkpoints
        self._marked = 0

    async def verify(self) -> Verification:
        """Walks the whole log, page by page."""
        try:
            marks = await asyncio.to_thread(read_checkpoints, self._checkpoints, self._signer.public_key())
        except GameNodeError as error:
            return Verification(0, 0, error.message)
        walk = ChainWalk(self._key, checkpoints=marks)
        after = 0
        while True:
            rows = await self._store.read(queries.audit_rows, after=after, limit=_PAGE)
            if not rows or not await asyncio.to_thread(walk.feed, rows):
                return walk.finish()
            after = rows[-1].seq

    async def mark(self) -> Checkpoint | None:
        """Writes a checkpoint of the newest row, unless it has one."""
        newest = await self._store.read(queries.list_audit, limit=1)
        if not newest or newest[-1].seq <= self._marked:
            return None
        row = newest[-1]
        checkpoint = Checkpoint(row.seq, row.mac, row.time)
        await asyncio.to_thread(append_checkpoint, self._checkpoints, checkpoint, self._signer)
        self._marked = row.seq
        return checkpoint

    async def try_to_mark(self) -> None:
        """Marks where that can be done: neither a full disk nor a database that cannot be read ends the server."""
        try:
            await self.mark()
        except Exception:
            logger.exception("the audit log could not be marked")

    async def keep_marking(self, every: float) -> None:
        """Marks at an interval of `every` seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.try_to_mark()
