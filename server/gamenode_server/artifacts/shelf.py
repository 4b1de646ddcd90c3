"""Artifacts as the server keeps them: contents come in piece by piece, get their names once they are whole, and go when
nobody needs them any more.

Whoever gives a content its name and whoever sweeps contents without one take turns, so that none goes under its name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from gamenode_pipelines.artifacts import DIGEST, check_name
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_size
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.failpoints import failpoint
from gamenode_server.artifacts.files import Contents
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store import Store, artifacts
from gamenode_server.store.artifacts import Artifact
from gamenode_server.store.transaction import Transaction

logger = logging.getLogger(__name__)

#: Bytes of one message.
PIECE = 256 * 1024
_THREADS = 4
#: Pieces of an upload that nobody goes on with, and contents that nobody has named, seconds.
LEFT_ALONE = 86_400.0
#: Seconds; about 292 years.
LONGEST_KEEP = 9_214_646_400.0
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one artifact and of all together; seconds that one is kept where nobody says."""

    size: int
    space: int
    keep: float


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody wants to store. `sender` keeps apart what several send at once; `keep` 0: as `Limits` says.

    `artifact` is as it will be, but for its times.
    """

    artifact: Artifact
    keep: float
    sender: str
    #: Raises where it may not be stored any more; asked again when it gets its name.
    allowed: Callable[[Transaction], object] = lambda _: None


class Shelf:
    """The artifacts of one server. For one loop."""

    def __init__(self, root: Path, store: Store, limits: Limits) -> None:
        self._contents = Contents(root)
        self._store = store
        self._limits = limits
        self._naming = asyncio.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "artifacts")
        #: The call that sends a content; a later one of the same sender ends it, and goes on.
        self._uploads: dict[tuple[str, str], asyncio.Timeout] = {}
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        #: How many bytes the contents will have that are coming in.
        self._coming: dict[tuple[str, str], int] = {}
        self._counting = asyncio.Lock()

    async def offer(self, offer: Offer, audit: Callable[[], NewAudit] | None = None) -> Artifact | int:
        """The artifact where nothing has to be sent, else how many bytes of its content are here.

        `audit` gives the record of an operator's call, for when the offer is all there is.
        Raises GameNodeError: INVALID_ARGUMENT, LIMIT_EXCEEDED, STORAGE_FULL.
        """
        self._check(offer)
        if (stored := await self._name(offer, audit)) is not None:
            return stored
        await self._check_space(offer)
        return await self._run(self._contents.held, offer.artifact.digest, offer.sender)

    async def upload(
        self,
        offer: Offer,
        offset: int,
        pieces: AsyncIterator[tuple[int, bytes]],
        audit: Callable[[], NewAudit] | None = None,
    ) -> Artifact:
        """Takes the content from `offset` on; what comes of it stays when the pieces break off.

        Raises GameNodeError: PROTOCOL_ERROR (offer it again), INTEGRITY_FAILED, STORAGE_FULL.
        """
        self._check(offer)
        key = (offer.artifact.digest, offer.sender)
        if (before := self._uploads.get(key)) is not None and not before.expired():
            before.reschedule(asyncio.get_running_loop().time())
        limit = asyncio.timeout(None)
        self._uploads[key] = limit
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with limit, turn, self._space_for(offer, key):
                await self._receive(offer, offset, pieces)
        except TimeoutError:
            raise GameNodeError(Code.PROTOCOL_ERROR, "another call sends it now: offer it again") from None
        finally:
            if self._uploads.get(key) is limit:
                del self._uploads[key]
        failpoint("artifacts.content")
        stored = await self._name(offer, audit)
        if stored is None:
            raise GameNodeError(Code.PROTOCOL_ERROR, "the content is gone again: offer it again")
        return stored

    async def _receive(self, offer: Offer, offset: int, pieces: AsyncIterator[tuple[int, bytes]]) -> None:
        size = offer.artifact.bytes
        incoming = await self._run(self._contents.receive, offer.artifact.digest, offer.sender)
        try:
            if incoming.size > size:  # of an offer that said another size
                await self._run(incoming.discard)
            if incoming.size != offset:
                raise GameNodeError(
                    Code.PROTOCOL_ERROR, f"the server has {incoming.size} bytes of it, not {offset}: offer it again"
                )
            async for at, data in pieces:
                if at != incoming.size or at + len(data) > size:
                    raise GameNodeError(
                        Code.PROTOCOL_ERROR, f"a piece for byte {at} came when {incoming.size} was next"
                    )
                await self._run(incoming.write, data)
                failpoint("artifacts.piece")
            if incoming.size < size:
                raise GameNodeError(
                    Code.PROTOCOL_ERROR,
                    f"{incoming.size} of {size} bytes have come, and there are no more: offer it again",
                )
            await self._run(incoming.finish)
        finally:
            await self._run(incoming.close)

    async def read(self, digest: str, offset: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """A content from an offset, in order. Raises DATA_LOSS where it is not on the disk."""
        file = await self._run(self._contents.open, digest, offset)
        try:
            while data := await self._run(file.read, PIECE):
                failpoint("artifacts.read")
                yield offset, data
                offset += len(data)
        finally:
            await self._run(file.close)

    async def sweep(self) -> None:
        """Removes artifacts whose time is over, and contents that no artifact has."""
        async with self._naming:  # what is stored anew in this moment is not over
            gone = await self._store.apply(_expire)
        for each in gone:
            logger.info("artifact %s has expired", each.name, extra={"digest": each.digest})
        await self.forget(gone)
        async with self._naming:
            known = await self._store.read(artifacts.of_node, "")
            await self._run(lambda: self._contents.sweep(known, before=wall_clock() - LEFT_ALONE))

    async def forget(self, removed: Sequence[Artifact]) -> None:
        """These were removed: so is what no other artifact has."""
        if any(not each.node_id for each in removed):
            async with self._naming:
                known = await self._store.read(artifacts.of_node, "")
                loose = [each.digest for each in removed if not each.node_id and each.digest not in known]
                await self._run(self._contents.remove, loose)

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.to_thread(self._pool.shutdown)

    def _check(self, offer: Offer) -> None:
        artifact = offer.artifact
        try:
            check_name(artifact.name)
        except ValueError as error:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"the name {artifact.name[:130]!r} {error}") from None
        if not DIGEST.fullmatch(artifact.digest):
            raise GameNodeError(Code.INVALID_ARGUMENT, "an artifact needs the SHA-256 of its content, in lower case")
        if artifact.bytes < 0 or not 0 <= offer.keep <= LONGEST_KEEP:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, "an artifact has no fewer than 0 bytes, and is kept from 0 s to 292 years"
            )
        if not artifact.node_id and artifact.bytes > self._limits.size:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"{artifact.name!r} has {format_size(artifact.bytes)}; an artifact may have"
                f" {format_size(self._limits.size)} (`artifact_size`)",
                details={"limit": str(self._limits.size)},
            )

    async def _check_space(self, offer: Offer, key: tuple[str, str] = ("", "")) -> None:
        """Raises STORAGE_FULL where it does not fit beside what is here and what is coming in by other calls."""
        artifact = offer.artifact
        coming = {other: size for other, size in self._coming.items() if other != key}
        usage = await self._run(self._contents.usage, coming)
        held = await self._run(self._contents.held, artifact.digest, offer.sender)
        if usage - held + artifact.bytes > self._limits.space:
            raise GameNodeError(
                Code.STORAGE_FULL,
                f"the artifacts on the server take {format_size(usage)} of {format_size(self._limits.space)}, and"
                f" {artifact.name!r} has {format_size(artifact.bytes)}: remove some with `gamenode artifact rm`, or set"
                " `artifact_space`",
            )

    @asynccontextmanager
    async def _space_for(self, offer: Offer, key: tuple[str, str]) -> AsyncIterator[None]:
        """Keeps the space of a content that comes in. Raises STORAGE_FULL."""
        async with self._counting:
            await self._check_space(offer, key)
            self._coming[key] = offer.artifact.bytes
        try:
            yield
        finally:
            del self._coming[key]

    async def _name(self, offer: Offer, audit: Callable[[], NewAudit] | None) -> Artifact | None:
        """Gives a content that is here its name; None where it is gone."""
        wanted = offer.artifact
        keep = offer.keep or self._limits.keep

        def op(tx: Transaction) -> Artifact:
            offer.allowed(tx)
            stored = replace(wanted, created_at=tx.now, expires_at=tx.now + keep)
            artifacts.put(tx, stored)
            if record is not None:
                tx.audit(record)
            tx.emit([_event("artifact.stored", stored)])
            return stored

        async with self._naming:
            if not wanted.node_id and not await self._run(self._contents.has, wanted.digest, wanted.bytes):
                return None
            # Only now: who takes the record has to write it.
            record = audit() if audit is not None else None
            return await self._store.apply(op)

    async def _run(self, work: Callable[..., R], *args: Any) -> R:
        """In a thread. Whatever is under way there is waited for: a file is never closed under it."""
        task = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise


def removal(chosen: Sequence[Artifact], *, by: str, reason: str, audit: NewAudit) -> Callable[[Transaction], None]:
    """The operation that removes these."""

    def op(tx: Transaction) -> None:
        artifacts.remove(tx, chosen)
        tx.audit(audit)
        tx.emit([_event("artifact.removed", each, by=by, reason=reason) for each in chosen])

    return op


def _expire(tx: Transaction) -> Sequence[Artifact]:
    gone = tx.query(lambda connection: artifacts.expired(connection, tx.now))
    artifacts.remove(tx, gone)
    tx.emit([_event("artifact.expired", each) for each in gone])
    return gone


def _event(kind: str, artifact: Artifact, **more: str) -> NewEvent:
    data = {"artifact": artifact.name, "digest": artifact.digest, "bytes": str(artifact.bytes), **more}
    return NewEvent(
        type=kind,
        node_id=artifact.node_id,
        run_id=artifact.run_id,
        data={key: value for key, value in data.items() if value},
    )
