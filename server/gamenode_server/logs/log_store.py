"""The server's copies of the logs, as the event loop uses them.

Uploads are acknowledged once they are on the disk; a log's followers hear of them before that. Knows no task and no
node: who may write which log is the caller's to say.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogSummary
from gamenode_proto.logfile import Chunk, LogReader
from gamenode_server.logs.files import Finished, OpenLogs, Received, path_of, refs_of, status_of
from gamenode_server.logs.refs import LogRef, LogStatus, ended_status
from gamenode_server.logs.retention import RunLogs, measure
from gamenode_server.logs.thread import Job, LogThread, Outcome

R = TypeVar("R")

#: One read of a chunk of output: (time, length, stream).
Record = tuple[float, int, int]

SYNC_INTERVAL = 0.25
OPEN_LOGS = 256
READERS = 2
#: Bytes that may wait for the disk; beyond it `append` waits before it takes more.
PENDING_BYTES = 64 << 20
KNOWN = 20_000
MAX_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A range of a log: its bytes, the reads they came in, and how the log stood when it was read."""

    offset: int
    data: bytes
    chunks: Sequence[Chunk]
    status: LogStatus


class LogStore:
    """Logs under one folder. Used on one event loop; `on_change(ref)` is called there when a log grew or ended."""

    def __init__(
        self,
        directory: Path,
        *,
        on_change: Callable[[LogRef], None],
        sync_interval: float = SYNC_INTERVAL,
        open_logs: int = OPEN_LOGS,
    ) -> None:
        self._directory = directory
        self._on_change = on_change
        directory.mkdir(parents=True, exist_ok=True)
        self._thread = LogThread(
            OpenLogs(directory, limit=open_logs), sync_interval=sync_interval, deliver=self._delivered
        )
        self._pool = ThreadPoolExecutor(READERS, "log-reader")
        self._known: OrderedDict[LogRef, LogStatus] = OrderedDict()
        self._pending = 0
        self._gate = asyncio.Lock()
        self._room = asyncio.Event()
        self._closed = False
        #: The last thing the disk refused; None when it takes logs.
        self.problem: str | None = None
        #: What has come in since the start, also what was there already.
        self.received_bytes = 0

    # -- uploads ------------------------------------------------------------------------------------------------------

    async def append(self, ref: LogRef, offset: int, data: bytes, records: Sequence[Record]) -> Received:
        """Adds bytes at `offset`; returns once they are on the disk.

        What is there already is skipped. Where bytes in front are missing, nothing is added: `rewind`, and the offset
        to go on from. Raises GameNodeError: STORAGE_FULL (nothing of it was stored; send it again), PROTOCOL_ERROR.
        """
        return await (await self.offer(ref, offset, data, records))

    async def offer(self, ref: LogRef, offset: int, data: bytes, records: Sequence[Record]) -> asyncio.Future[Received]:
        """As `append`, but returns as soon as there is room, with the answer to come: for a stream of uploads."""
        async with self._gate:  # in the order of the calls
            while self._pending > PENDING_BYTES:
                self._room.clear()
                await self._room.wait()
        size = len(data)
        self._pending += size
        self.received_bytes += size
        future = self._put(ref, lambda logs: logs.append(ref, offset, data, records), urgent=False, size=size)
        future.add_done_callback(lambda done: self._done(done, size))
        return future

    async def finish(self, ref: LogRef, summary: LogSummary) -> Finished:
        """The sender has no more: closes the log if it is all here and has the right hash, else says where to go on.

        Returns once everything is on the disk. May be called again.
        """

        def work(logs: OpenLogs) -> tuple[Finished, LogStatus | None]:
            finished = logs.finish(ref, summary)
            return finished, finished.status

        return await self._put(ref, work, urgent=True)

    # -- what is here -------------------------------------------------------------------------------------------------

    def known(self, ref: LogRef) -> LogStatus | None:
        """How a log stands, if it grew or ended since the server started; without waiting."""
        return self._known.get(ref)

    async def status(self, ref: LogRef, expected: LogSummary | None = None) -> LogStatus:
        """How a log stands; `expected` is what its step ended with, where that is known."""
        known = self._known.get(ref)
        return known if known is not None else (await self.statuses({ref: expected}))[0]

    async def statuses(self, expected: Mapping[LogRef, LogSummary | None]) -> list[LogStatus]:
        """How these logs stand, in their order; memory first, then the disk."""
        unknown = [(ref, summary) for ref, summary in expected.items() if ref not in self._known]
        if unknown:
            found = await self._in_pool(lambda: [status_of(self._directory, ref, summary) for ref, summary in unknown])
            for status in found:
                self._remember(status, replace=False)
            missing = {status.ref: status for status in found}
            return [_judged(self._known.get(ref) or missing[ref], summary) for ref, summary in expected.items()]
        return [_judged(self._known[ref], summary) for ref, summary in expected.items()]

    async def logs_of(self, run_id: str) -> list[LogRef]:
        """Every log of a run that has a byte."""
        return await self._in_pool(lambda: refs_of(self._directory, run_id))

    async def read(self, ref: LogRef, offset: int, limit: int = MAX_READ) -> LogSlice:
        """At most `limit` bytes from `offset` (at most 1 MiB); empty at the end, and where there is no log."""
        if offset < 0 or limit < 0:
            raise GameNodeError(Code.INVALID_ARGUMENT, "a log's offset and limit are not negative")
        return await self._in_pool(lambda: _read(self._directory, ref, offset, min(limit, MAX_READ)))

    async def locate(self, ref: LogRef, *, since: float = 0.0, tail: int = -1) -> int:
        """Where to begin: the later of the first read at `since` and the last `tail` lines (-1: all)."""
        return await self._in_pool(lambda: _locate(path_of(self._directory, ref), since, tail))

    # -- keeping house ------------------------------------------------------------------------------------------------

    async def usage(self) -> list[RunLogs]:
        """What each run's logs take on disk."""
        return await self._in_pool(lambda: measure(self._directory))

    async def remove_runs(self, run_ids: Iterable[str]) -> None:
        """Deletes the logs of these runs."""
        gone = frozenset(run_ids)
        if not gone:
            return

        def work(logs: OpenLogs) -> tuple[None, None]:
            logs.close_runs(gone)
            for run_id in gone:
                folder = path_of(self._directory, LogRef(run_id, "t", 0, "s", 0)).parent.parent
                with suppress(FileNotFoundError):  # a run without output
                    shutil.rmtree(folder)
            return None, None

        await self._put(None, work, urgent=True)
        for ref in [ref for ref in self._known if ref.run_id in gone]:
            del self._known[ref]

    async def close(self) -> None:
        """Finishes what was handed in and closes every log."""
        if not self._closed:
            self._closed = True
            await self._thread.close()
            await asyncio.to_thread(self._pool.shutdown)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _put(
        self, ref: LogRef | None, work: Callable[[OpenLogs], tuple[R, LogStatus | None]], *, urgent: bool, size: int = 0
    ) -> asyncio.Future[R]:
        if self._closed:
            raise GameNodeError(Code.STATE_CONFLICT, "the log store is closed")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._thread.put(Job(ref, work, future, urgent, size))
        return future

    def _delivered(self, news: Sequence[LogStatus], outcomes: Sequence[Outcome]) -> None:
        for status in news:
            self._remember(status, replace=True)
            self._on_change(status.ref)
        for outcome in outcomes:
            self._note_problem(outcome)
            if outcome.future.done():  # nobody waits any more; what was written stays
                continue
            if outcome.error is not None:
                outcome.future.set_exception(outcome.error)
            else:
                outcome.future.set_result(outcome.result)

    def _note_problem(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self.problem = None
        elif isinstance(outcome.error, GameNodeError) and outcome.error.code is Code.STORAGE_FULL:
            self.problem = outcome.error.message

    def _done(self, future: asyncio.Future[Received], size: int) -> None:
        if not future.cancelled():
            future.exception()  # a stream that ended for one of its pieces asks for no other
        self._pending -= size
        if self._pending <= PENDING_BYTES:
            self._room.set()

    def _remember(self, status: LogStatus, *, replace: bool) -> None:
        if replace or status.ref not in self._known:
            self._known[status.ref] = status
            self._known.move_to_end(status.ref)
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)

    async def _in_pool(self, work: Callable[[], R]) -> R:
        loop = asyncio.get_running_loop()
        result: Any = await loop.run_in_executor(self._pool, work)
        return result  # type: ignore[no-any-return]


def _judged(status: LogStatus, expected: LogSummary | None) -> LogStatus:
    """A log that was to have no byte is whole without ever having been sent."""
    if status.ended or expected is None or expected.bytes or status.bytes:
        return status
    return ended_status(status.ref, expected, complete=not expected.holes)


def _read(directory: Path, ref: LogRef, offset: int, limit: int) -> LogSlice:
    path = path_of(directory, ref)
    status = status_of(directory, ref)
    try:
        with LogReader(path) as reader:
            data = reader.read(offset, limit)
            chunks: list[Chunk] = []
            if data:
                end = offset + len(data)
                for chunk in reader.chunks(offset):
                    if chunk.offset >= end:
                        break
                    chunks.append(chunk if chunk.end <= end else chunk._replace(length=end - chunk.offset))
    except FileNotFoundError:
        return LogSlice(offset, b"", (), status)
    return LogSlice(offset, data, chunks, status)


def _locate(path: Path, since: float, tail: int) -> int:
    try:
        with LogReader(path) as reader:
            offset = 0
            if since:
                first = reader.chunk_at_time(since)
                offset = first.offset if first is not None else reader.size
            if tail >= 0:
                offset = max(offset, reader.tail_offset(tail))
            return offset
    except FileNotFoundError:
        return 0
