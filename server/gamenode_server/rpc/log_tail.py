"""A run's logs as one stream: merged by time, as far as they are there, then followed to the end of the run.

Holds one small piece of every log at a time, so that a run over the whole fleet costs no more memory than one host's.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogHole
from gamenode_pipelines.task_state import Task
from gamenode_proto.logfile import Chunk
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1 import state_management_pb2 as pb
from gamenode_server.core import Core
from gamenode_server.logs import LogRef, LogSlice
from gamenode_server.rpc import finding, log_documents
from gamenode_server.rpc.run_watch import Settling, changes_within

#: What all logs of one call may hold in memory together, and each of them at least and at most.
MEMORY = 8 << 20
MIN_SLICE = 4 << 10
MAX_SLICE = 256 << 10
MAX_READ = 1 << 20


@dataclass(slots=True)
class _Source:
    """One log, and how far it has been told."""

    ref: LogRef
    node: str
    offset: int
    slice: LogSlice | None = None
    #: Chunks of the slice that were told.
    told: int = 0
    #: Where its telling began.
    begin: int = 0
    #: What is missing and was not told; known once the log has ended.
    holes: list[LogHole] | None = None
    ended: bool = False

    def head(self) -> Chunk | None:
        """The next read to tell."""
        if self.slice is None or self.told >= len(self.slice.chunks):
            return None
        return self.slice.chunks[self.told]


class LogTail:
    """One call's view of a run's logs."""

    def __init__(self, core: Core, run_id: str, request: pb.TailLogsRequest) -> None:
        if request.tail < -1:
            raise GameNodeError(Code.INVALID_ARGUMENT, "tail is a number of lines, or -1 for all")
        self._core = core
        self._run_id = run_id
        self._request = request
        self._sources: dict[LogRef, _Source] = {}

    async def pieces(self) -> AsyncGenerator[pb.LogPiece, None]:
        """The pieces in the order they were written, as far as that is known when they are told."""
        core = self._core
        with core.hub.watch_run(self._run_id) as watch:
            run, tasks = await finding.run_and_tasks(core, self._run_id)
            wanted = self._wanted(tasks)
            await self._add(await log_documents.stored(core.logs, self._run_id, wanted), wanted, first=True)
            async for piece in self._merged(list(self._sources.values())):
                yield piece
            if not self._request.follow:
                return
            settling = Settling(core)
            over = await settling.is_over(run, wanted)
            while not over:
                changes = await changes_within(watch, settling.patience(run))
                run, tasks = await finding.run_and_tasks(core, self._run_id)
                wanted = self._wanted(tasks)
                over = await settling.is_over(run, wanted)
                grown = changes.logs | (self._open() if over else set())
                await self._add(grown, wanted, first=False)
                async for piece in self._merged([s for ref in grown if (s := self._sources.get(ref)) is not None]):
                    yield piece

    def _wanted(self, tasks: Sequence[Task]) -> Sequence[Task]:
        if not self._request.node:
            return tasks
        return [finding.task_on(tasks, self._request.node)]

    def _open(self) -> set[LogRef]:
        return {ref for ref, source in self._sources.items() if not source.ended}

    async def _add(self, refs: Iterable[LogRef], tasks: Sequence[Task], *, first: bool) -> None:
        names = {task.id: task.node.name for task in tasks}
        request = self._request
        for ref in refs:
            if ref in self._sources or ref.task_id not in names or request.step not in ("", ref.step_id):
                continue
            # A log that begins while we follow is told from its beginning.
            tail = request.tail if first else -1
            offset = 0
            if request.since or tail >= 0:
                offset = await self._core.logs.locate(ref, since=request.since, tail=tail)
            self._sources[ref] = _Source(ref, names[ref.task_id], offset, begin=offset)

    async def _merged(self, sources: Sequence[_Source]) -> AsyncIterator[pb.LogPiece]:
        if not sources:
            return
        size = max(MIN_SLICE, min(MAX_SLICE, MEMORY // len(sources)))
        heap: list[tuple[float, int, _Source]] = []
        for number, source in enumerate(sources):
            for piece in await self._fill(source, size):
                yield piece
            if (head := source.head()) is not None:
                heap.append((head.time, number, source))
        heapq.heapify(heap)
        while heap:
            _, number, source = heapq.heappop(heap)
            chunk = source.head()
            assert chunk is not None
            for piece in _told(source, chunk):
                yield piece
            if source.head() is None:
                for piece in await self._fill(source, size):
                    yield piece
            if (head := source.head()) is not None:
                heapq.heappush(heap, (head.time, number, source))

    async def _fill(self, source: _Source, size: int) -> list[pb.LogPiece]:
        """Reads on. Where the log has ended and is told, what is left to say of it."""
        if source.ended:
            return []
        read = await self._core.logs.read(source.ref, source.offset, size)
        source.slice, source.told = read, 0
        status = read.status
        if status.ended and source.holes is None:
            source.holes = [hole for hole in status.holes if hole.offset >= source.begin]
        if read.data or not status.ended:
            return []
        source.ended = True
        pieces = [_hole(source, hole) for hole in source.holes or ()]
        end = pb.LogStatusEnd(complete=status.whole, lines=status.lines, bytes=status.bytes, sha256=status.sha256)
        pieces.append(pb.LogPiece(ref=source.ref.attempt_ref(), node=source.node, offset=source.offset, end=end))
        return pieces


def _told(source: _Source, chunk: Chunk) -> Iterable[pb.LogPiece]:
    while source.holes and source.holes[0].offset <= chunk.offset:
        yield _hole(source, source.holes.pop(0))
    assert source.slice is not None
    begin = max(chunk.offset, source.offset)
    data = source.slice.data[begin - source.slice.offset : chunk.end - source.slice.offset]
    source.told += 1
    source.offset = chunk.end
    yield pb.LogPiece(
        ref=source.ref.attempt_ref(), node=source.node, offset=begin, data=data, time=chunk.time, stream=chunk.stream
    )


def _hole(source: _Source, hole: LogHole) -> pb.LogPiece:
    message = common_pb2.LogHole(offset=hole.offset, length=hole.length, reason=hole.reason)
    return pb.LogPiece(ref=source.ref.attempt_ref(), node=source.node, offset=hole.offset, hole=message)


async def read_log(core: Core, request: pb.ReadLogRequest) -> pb.ReadLogResponse:
    """A byte range of one log; NOT_FOUND for a task that nobody knows."""
    task_id = request.ref.task_id
    task = core.store.view.task(task_id) or await core.store.apply(lambda tx: tx.task(task_id))
    if task is None:
        raise GameNodeError(Code.NOT_FOUND, f"there is no task {task_id!r}")
    read = await core.logs.read(LogRef.of(task.run_id, request.ref), request.offset, request.limit or MAX_READ)
    return pb.ReadLogResponse(
        data=read.data,
        times=[pb.ChunkTime(offset=chunk.offset, time=chunk.time, stream=chunk.stream) for chunk in read.chunks],
        size=read.status.bytes,
        complete=read.status.whole,
    )
