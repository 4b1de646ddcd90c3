"""The store as the server uses it: `apply` an operation, `read` a query, look at the `view`.

One thread writes, in batches, and a few read. What a commit changed reaches the event loop once per batch, in commit
order and before any `apply` of that batch returns: first the view, then the hub, then the effects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from gamenode_proto.process.clock import Clock
from gamenode_proto.process.writer import BatchWriter
from gamenode_server.hub import EventFilter, EventPage, Hub
from gamenode_server.store import queries, retention
from gamenode_server.store.backend import Backend
from gamenode_server.store.cache import HotCache
from gamenode_server.store.commits import Commit
from gamenode_server.store.engine import MEMORY, READERS, Health, sqlite_readers
from gamenode_server.store.transaction import Transaction
from gamenode_server.store.view import follow, mirror

logger = logging.getLogger(__name__)

R = TypeVar("R")
P = ParamSpec("P")


class Store:
    """A database that is open. Made by `open_store`; used on one event loop."""

    def __init__(
        self,
        backend: Backend,
        *,
        path: Path | None,
        hub: Hub,
        on_effects: Callable[[Sequence[object]], None],
        idle_after: float,
    ) -> None:
        #: What has been committed, as far as it is in memory: for reading on the event loop, without waiting.
        self.view: HotCache = mirror(backend.memory.cache)
        self._backend = backend
        self._hub = hub
        self._on_effects = on_effects
        self._loop: asyncio.AbstractEventLoop | None = None
        self._healthy = asyncio.Event()
        self._healthy.set()
        self._readers = sqlite_readers(path) if path is not None else None
        self._pool = ThreadPoolExecutor(READERS, "store-reader") if path is not None else None
        backend.on_health = self._health_changed
        hub.connect(self._history, newest=backend.sequences.cursor)
        self._writer: BatchWriter[Transaction] = BatchWriter(
            backend, name="store-writer", announce=self._announce, on_idle=backend.idle, idle_after=idle_after
        )

    @property
    def health(self) -> Health:
        """Whether the store can store."""
        return self._backend.health

    @property
    def clock(self) -> Clock:
        """The clock that operations get their time from."""
        return self._backend.clock

    def time_commits(self, observe: Callable[[float], None]) -> None:
        """From now on `observe`, on the writer's thread and quick, is told how many seconds each commit took."""
        self._backend.on_commit = observe

    async def apply(self, operation: Callable[[Transaction], R]) -> R:
        """Runs `operation(tx)` on the writer's thread; returns its result once it is durable, or raises what it raised.

        Raises GameNodeError STORAGE_FULL where nothing could be stored for want of space.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return await self._writer.apply(operation)

    async def read(self, query: Callable[Concatenate[sa.Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs `query(connection, …)` on a reading thread, all of it on one snapshot of what is committed."""
        if self._pool is None:
            return await self.apply(lambda tx: tx.query(lambda connection: query(connection, *args, **kwargs)))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self._read(lambda c: query(c, *args, **kwargs)))

    async def writable(self) -> None:
        """Returns once `health` is ok; at once where it is."""
        await self._healthy.wait()

    async def prune(self, policy: retention.Retention) -> list[str]:
        """Deletes what is too old, in small operations. Answers with the ids of the runs that are gone."""
        gone: list[str] = []
        more = True
        while more:
            pruned = await self.apply(lambda tx: retention.prune(tx, policy))
            gone += pruned.runs
            more = pruned.more
        return gone

    async def close(self) -> None:
        """Finishes what was handed in, checkpoints and closes."""
        await self._writer.close()
        if self._pool is not None and self._readers is not None:
            await asyncio.to_thread(self._pool.shutdown)
            self._readers.dispose()

    def _read(self, query: Callable[[sa.Connection], R]) -> R:
        assert self._readers is not None
        with self._readers.connect() as connection:
            return query(connection)

    async def _history(self, after: int, only: EventFilter, limit: int) -> EventPage:
        return await self.read(queries.list_events, after=after, only=only, limit=limit)

    def _announce(self, tx: Transaction) -> Callable[[], None] | None:
        commit = tx.committed()
        return (lambda: self._committed(commit)) if commit else None

    def _committed(self, commit: Commit) -> None:
        follow(self.view, commit)
        runs = [*commit.runs, *commit.forgotten_runs]
        self._hub.committed(commit.events, runs=runs, tasks=commit.tasks.values(), nodes=commit.nodes)
        if commit.effects:
            self._on_effects(commit.effects)

    def _health_changed(self, health: Health) -> None:
        if self._loop is None:
            return
        change = self._healthy.set if health is Health.OK else self._healthy.clear
        try:
            self._loop.call_soon_threadsafe(change)
        except RuntimeError:
            logger.debug("the loop was closed before it could hear that the store is %s", health)


def open_store(
    path: Path | str,
    *,
    hub: Hub,
    on_effects: Callable[[Sequence[object]], None],
    clock: Clock | None = None,
    audit_key: bytes = b"",
    idle_after: float = 2.0,
) -> Store:
    """Opens the database at `path` (or ":memory:"), making or migrating it where it must be.

    Raises GameNodeError: VERSION_MISMATCH for a newer schema, DATA_LOSS for a damaged file, STORAGE_FULL for want of
    space. Without `clock` there is a new one that never goes below what this database has seen. `on_effects` is called
    on the event loop after each commit that has effects. After `idle_after` seconds without a write comes a checkpoint.
    """
    backend = Backend(path, clock=clock, audit_key=audit_key)
    file = None if path == MEMORY else Path(path)
    return Store(backend, path=file, hub=hub, on_effects=on_effects, idle_after=idle_after)
