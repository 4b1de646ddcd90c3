"""The thread that writes logs: whatever waits is written at once, made durable together, and acknowledged after that.

Syncs come at most every `sync_interval`: a log that grows all the time would otherwise cost one a piece. One comes at
once where there was none for that long, for a log that ends, and when `SYNC_BYTES` wait for it: a sender has only so
much under way, and stands still until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.failpoints import failpoint
from gamenode_server.logs.files import Finished, OpenLogs
from gamenode_server.logs.refs import LogRef, LogStatus

logger = logging.getLogger(__name__)

#: Between two syncs by time, this many times what the last one took is left for writing.
_BUSY_SHARE = 4.0
#: A quarter of what one sender has under way at most.
SYNC_BYTES = 1 << 20


@dataclass(slots=True)
class Job:
    """Something to do on the thread. `work` answers with the result and how the log stands, where that is news."""

    ref: LogRef | None
    work: Callable[[OpenLogs], tuple[Any, LogStatus | None]]
    future: asyncio.Future[Any]
    #: Its log is synced at once.
    urgent: bool
    #: Bytes it writes.
    size: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished job."""

    future: asyncio.Future[Any]
    result: Any
    error: Exception | None


class LogThread:
    """Runs jobs in their order. `deliver(news, outcomes)` is called on the loop, once for whatever came together."""

    def __init__(
        self,
        logs: OpenLogs,
        *,
        sync_interval: float,
        deliver: Callable[[Sequence[LogStatus], Sequence[Outcome]], None],
    ) -> None:
        self._logs = logs
        self._sync_interval = sync_interval
        self._deliver = deliver
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsynced: list[tuple[Job, Any]] = []
        self._unsynced_bytes = 0
        self._next_sync = 0.0
        self._thread = threading.Thread(target=self._main, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Hands in a job, from the event loop."""
        if self._loop is None:
            self._loop = job.future.get_loop()
        self._jobs.put(job)

    async def close(self) -> None:
        """Finishes what was handed in, closes every log and ends the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            news: dict[LogRef, LogStatus] = {}
            outcomes: list[Outcome] = []
            for job in batch:
                self._perform(job, news, outcomes)
            self._send(news, outcomes)  # who follows a log does not wait for the disk
            self._sync({job.ref for job in batch if job.urgent} | self._logs.surplus(), closing=not open_)
            self._logs.trim()
        self._logs.close_all()

    def _take(self) -> tuple[list[Job], bool]:
        """What waits; without anything to sync it waits for something."""
        batch: list[Job] = []
        timeout = max(0.0, self._next_sync - time.monotonic()) if self._unsynced else None
        try:
            job = self._jobs.get(timeout=timeout)
            while job is not None:
                batch.append(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _perform(self, job: Job, news: dict[LogRef, LogStatus], outcomes: list[Outcome]) -> None:
        try:
            failpoint("logs.write")
            result, status = job.work(self._logs)
        except Exception as error:  # the caller's: handed to it
            outcomes.append(Outcome(job.future, None, _told(error)))
            return
        if status is not None:
            news[status.ref] = status
        if getattr(result, "rewind", False):  # nothing was written
            outcomes.append(Outcome(job.future, result, None))
        else:
            self._unsynced.append((job, result))
            self._unsynced_bytes += job.size

    def _sync(self, urgent: set[LogRef | None], *, closing: bool) -> None:
        now = time.monotonic()
        due = closing or now >= self._next_sync or self._unsynced_bytes >= SYNC_BYTES
        if not self._unsynced or not (due or urgent):
            return
        failed: dict[LogRef | None, Exception] = {}
        wanted = {job.ref for job, _ in self._unsynced} if due else urgent
        for ref in wanted:
            if ref is None:
                continue
            try:
                failpoint("logs.sync")
                self._logs.sync([ref])
            except OSError as error:
                failed[ref] = _told(error)
        if due:
            after = time.monotonic()
            self._next_sync = after + max(self._sync_interval, _BUSY_SHARE * (after - now))
            self._unsynced_bytes = 0
        waiting: list[tuple[Job, Any]] = []
        outcomes: list[Outcome] = []
        for job, result in self._unsynced:
            if job.ref not in wanted:
                waiting.append((job, result))
                continue
            outcomes.append(Outcome(job.future, result, failed.get(job.ref)))
            if isinstance(result, Finished) and result.status.ended and job.ref is not None:
                self._logs.close(job.ref)
        self._unsynced = waiting
        self._send({}, outcomes)

    def _send(self, news: dict[LogRef, LogStatus], outcomes: list[Outcome]) -> None:
        if not (news or outcomes) or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, list(news.values()), outcomes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("%d log uploads had nobody to tell", len(outcomes))


def _told(error: Exception) -> Exception:
    if isinstance(error, OSError):
        return GameNodeError(
            Code.STORAGE_FULL,
            f"the log could not be written: {error.strerror or error}; free some space on the server's disk",
        )
    return error
