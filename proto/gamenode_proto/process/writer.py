"""One thread that runs operations in batches, with one durable commit a batch (group commit).

Whatever waits when the thread is free goes into the next batch, so that the cost of a commit is shared exactly when
there is load, and a lone operation never waits for company. Knows no database: a `Backend` does the rest.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

Tx = TypeVar("Tx")
R = TypeVar("R")

MAX_BATCH = 500


class Backend(Protocol[Tx]):
    """What a batch runs against. Every method is called on the writer's thread only, never two at once.

    A batch is `begin`, then for each operation `run`, then `commit`; or `rollback` if anything but an operation failed.
    """

    def begin(self) -> Tx:
        """Opens a transaction."""
        ...

    def run(self, tx: Tx, operation: Callable[[Tx], Any]) -> Any:
        """Runs one operation. If it raises, none of its own changes may remain in the transaction."""
        ...

    def commit(self, tx: Tx) -> None:
        """Makes the batch durable. Raises if it is not, with nothing of it stored."""
        ...

    def rollback(self, tx: Tx) -> None:
        """Drops the batch."""
        ...

    def close(self) -> None:
        """Called once, at the end."""
        ...


class _Job(Generic[Tx]):
    __slots__ = ("future", "loop", "operation")

    def __init__(
        self, operation: Callable[[Tx], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
    ) -> None:
        self.operation = operation
        self.loop = loop
        self.future = future


class WriterClosed(RuntimeError):
    """The writer has been closed; nothing was done."""


class BatchWriter(Generic[Tx]):
    """Runs operations on one thread, many to a commit.

    `apply` may be called from any number of tasks. Operations run in the order of their calls and can be run again:
    after a commit that failed with several operations in it, each is tried alone, so that one bad operation cannot sink
    the others.
    """

    def __init__(
        self,
        backend: Backend[Tx],
        *,
        name: str,
        max_batch: int = MAX_BATCH,
        announce: Callable[[Tx], Callable[[], None] | None] | None = None,
        on_idle: Callable[[], bool] | None = None,
        idle_after: float = 2.0,
    ) -> None:
        """Starts the thread.

        `announce(tx)` is called on the thread after each commit; what it returns runs on the callers' event loop, in
        commit order, before any result of that batch is handed out. `on_idle()` is called on the thread once nothing
        came for `idle_after` seconds, and again after as long while it answers True.
        """
        self._backend = backend
        self._max_batch = max_batch
        self._announce = announce
        self._on_idle = on_idle
        self._idle_after = idle_after
        self._jobs: queue.SimpleQueue[_Job[Tx] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    async def apply(self, operation: Callable[[Tx], R]) -> R:
        """Runs `operation(tx)` and returns its result once it is durable, or raises what it raised."""
        return await self.submit(operation)

    def submit(self, operation: Callable[[Tx], R]) -> asyncio.Future[R]:
        """Hands in `operation(tx)` at once; the future has its result once it is durable, or what it raised."""
        if self._closed:
            raise WriterClosed("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put(_Job(operation, loop, future))
        return future

    async def close(self) -> None:
        """Finishes what was handed in, closes the backend and ends the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        open_ = True
        while open_:
            batch: list[_Job[Tx]] = []
            job = self._wait()
            while True:
                if job is None:
                    open_ = False
                    break
                batch.append(job)
                if len(batch) >= self._max_batch:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._run(batch)
        self._backend.close()

    def _wait(self) -> _Job[Tx] | None:
        idle = self._on_idle
        while idle is not None:
            try:
                return self._jobs.get(timeout=self._idle_after)
            except queue.Empty:
                if not idle():
                    idle = None
        return self._jobs.get()

    def _run(self, batch: list[_Job[Tx]]) -> None:
        try:
            results, announcement = self._transaction(batch)
        except Exception as error:
            if len(batch) == 1:
                _deliver([(batch[0], None, error)], None)
                return
            logger.warning("a batch of %d operations failed, trying each alone: %s", len(batch), error)
            for job in batch:
                self._run([job])
            return
        _deliver(results, announcement)

    def _transaction(
        self, batch: Sequence[_Job[Tx]]
    ) -> tuple[list[tuple[_Job[Tx], Any, Exception | None]], Callable[[], None] | None]:
        results: list[tuple[_Job[Tx], Any, Exception | None]] = []
        tx = self._backend.begin()
        try:
            for job in batch:
                try:
                    results.append((job, self._backend.run(tx, job.operation), None))
                except Exception as error:  # the caller's: handed to it below
                    results.append((job, None, error))
            self._backend.commit(tx)
        except BaseException:
            self._backend.rollback(tx)
            raise
        return results, self._announce(tx) if self._announce is not None else None


def _deliver(
    results: Sequence[tuple[_Job[Any], Any, Exception | None]], announcement: Callable[[], None] | None
) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job[Any], Any, Exception | None]]] = {}
    for result in results:
        by_loop.setdefault(result[0].loop, []).append(result)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, mine, announcement)
            announcement = None  # once, on the loop of the first caller
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("%d results had no loop to go to", len(mine))


def _resolve(
    results: Sequence[tuple[_Job[Any], Any, Exception | None]], announcement: Callable[[], None] | None
) -> None:
    if announcement is not None:
        try:
            announcement()
        except Exception:  # a fault of whoever listens; the batch is durable and its callers must hear so
            logger.exception("what follows a commit failed")
    for job, result, error in results:
        if job.future.done():  # cancelled while it waited; its operation stands
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
