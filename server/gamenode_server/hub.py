"""The fan-out to watchers, on the event loop: every event in order, or only what has changed.

A subscriber to events is a position in one shared ring, and older ones come from the store: there is no queue per
subscriber, so a slow or stopped one costs nothing and loses nothing. A watch is a set of what changed since it was last
asked: a slow one sees the latest state, never a backlog. Owns no record; knows the store only as a `History`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from gamenode_pipelines.tasks import Task
from gamenode_proto.v1 import work_pb2
from gamenode_server.logs.refs import LogRef

RING_EVENTS = 4096
RING_BYTES = 16 << 20
BATCH = 500
#: A watch on all runs notes so many; one that fell further behind has to begin anew.
CHANGED_RUNS = 10_000

#: Subscribe from now on.
NOW = -1


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. A type also stands for everything below it: `task` for `task.started`. Empty means all."""

    types: tuple[str, ...] = ()
    node_id: str = ""
    run_id: str = ""
    since: float = 0.0
    until: float = 0.0

    def matches(self, event: work_pb2.Event) -> bool:
        """Whether the event is one of these."""
        return (
            (not self.run_id or event.run_id == self.run_id)
            and (not self.node_id or event.node_id == self.node_id)
            and (not self.types or any(event.type == t or event.type.startswith(t + ".") for t in self.types))
            and event.time >= self.since
            and (not self.until or event.time <= self.until)
        )


EVERYTHING = EventFilter()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events by cursor. Continue after `cursor`. `resync`: events after the one asked for have been deleted."""

    events: Sequence[work_pb2.Event]
    cursor: int
    more: bool
    resync: bool


class History(Protocol):
    """Where events come from that are no longer in the ring."""

    async def __call__(self, after: int, only: EventFilter, limit: int) -> EventPage:
        """Events behind a cursor, from the store."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Events by cursor; continue after `cursor`.

    `resync`: events are missing before these, deleted or of another history: take a snapshot.
    """

    events: Sequence[work_pb2.Event]
    cursor: int
    resync: bool = False


@dataclass(slots=True)
class Changes:
    """Ids of what changed. Bounded by what exists, however long nobody looked."""

    runs: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    logs: set[LogRef] = field(default_factory=set)
    #: More runs have changed than are named here.
    behind: bool = False

    def __bool__(self) -> bool:
        return bool(self.runs or self.tasks or self.nodes or self.logs)

    def add(self, more: Changes) -> None:
        """Takes over others."""
        self.runs |= more.runs
        self.tasks |= more.tasks
        self.nodes |= more.nodes
        self.logs |= more.logs
        self.behind = self.behind or more.behind


class Watch:
    """What changed since it was last asked. One task may wait on it; close it, or use it as a context manager."""

    __slots__ = ("_changed", "_changes", "_close")

    def __init__(self, close: Callable[[Watch], None]) -> None:
        self._close = close
        self._changes = Changes()
        self._changed = asyncio.Event()

    async def changed(self) -> Changes:
        """Waits until something has changed, and answers with everything that did since the last call."""
        await self._changed.wait()
        return self.take()

    def take(self) -> Changes:
        """What changed since the last call, perhaps nothing, without waiting."""
        changes, self._changes = self._changes, Changes()
        self._changed.clear()
        return changes

    def close(self) -> None:
        """Stops watching."""
        self._close(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def note(self) -> Changes:
        """For the hub: the changes to add to."""
        self._changed.set()
        return self._changes


class Hub:
    """Tells watchers of events and changes. Used on one event loop; nothing here waits for a watcher."""

    def __init__(self, *, ring_events: int = RING_EVENTS, ring_bytes: int = RING_BYTES) -> None:
        self._ring_events = ring_events
        self._ring_bytes = ring_bytes
        self._ring: list[work_pb2.Event] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._newest = 0
        self._history: History | None = None
        self._news = asyncio.Event()
        self._of_run: dict[str, set[Watch]] = {}
        self._of_runs: set[Watch] = set()
        self._of_nodes: set[Watch] = set()

    def connect(self, history: History, *, newest: int) -> None:
        """Says where older events are, and which cursor was the last one given."""
        self._history = history
        self._newest = newest

    @property
    def newest(self) -> int:
        """The cursor of the newest event."""
        return self._newest

    # -- in -----------------------------------------------------------------------------------------------------------

    def committed(
        self, events: Sequence[work_pb2.Event], *, runs: Iterable[str], tasks: Iterable[Task], nodes: Iterable[str]
    ) -> None:
        """Tells of one commit."""
        self.publish(events)
        if self._of_run or self._of_runs:
            for run_id in runs:
                self.mark_run(run_id)
        if self._of_run:
            for task in tasks:
                self.mark_task(task.run_id, task.id)
        if self._of_nodes:
            for node_id in nodes:
                self.mark_node(node_id)

    def publish(self, events: Sequence[work_pb2.Event]) -> None:
        """Adds events, in the order of their cursors, behind those before."""
        if not events:
            return
        self._ring.extend(events)
        sizes = [event.ByteSize() for event in events]
        self._sizes.extend(sizes)
        self._bytes += sum(sizes)
        self._newest = events[-1].cursor
        self._trim()
        self._news.set()
        self._news = asyncio.Event()

    def mark_run(self, run_id: str) -> None:
        """A run has changed, or was deleted."""
        for watch in self._of_run.get(run_id, ()):
            watch.note().runs.add(run_id)
        for watch in self._of_runs:
            changes = watch.note()
            if len(changes.runs) < CHANGED_RUNS:
                changes.runs.add(run_id)
            elif run_id not in changes.runs:
                changes.behind = True

    def mark_task(self, run_id: str, task_id: str) -> None:
        """A task has changed."""
        for watch in self._of_run.get(run_id, ()):
            watch.note().tasks.add(task_id)

    def mark_node(self, node_id: str) -> None:
        """A node, its session or its metrics have changed."""
        for watch in self._of_nodes:
            watch.note().nodes.add(node_id)

    def mark_log(self, ref: LogRef) -> None:
        """A log has grown or ended."""
        for watch in self._of_run.get(ref.run_id, ()):
            watch.note().logs.add(ref)

    # -- out ----------------------------------------------------------------------------------------------------------

    def watch_run(self, run_id: str) -> Watch:
        """A watch on one run: the run itself, its tasks, its logs."""
        watch = Watch(lambda closed: self._leave_run(run_id, closed))
        self._of_run.setdefault(run_id, set()).add(watch)
        return watch

    def watch_runs(self) -> Watch:
        """A watch on which runs change or are deleted: the runs themselves, without their tasks."""
        watch = Watch(self._of_runs.discard)
        self._of_runs.add(watch)
        return watch

    def watch_nodes(self) -> Watch:
        """A watch on which nodes change."""
        watch = Watch(self._of_nodes.discard)
        self._of_nodes.add(watch)
        return watch

    async def subscribe(
        self, *, after: int = NOW, only: EventFilter = EVERYTHING, follow: bool = True, limit: int = BATCH
    ) -> AsyncGenerator[Batch, None]:
        """Events behind the cursor `after` (0: from the oldest kept, `NOW`: from now on), in batches, without a gap.

        Without `follow` it ends with the newest event. `NOW` gets an empty batch first, so that a stream that is lost
        before anything happened can be resumed; a cursor whose successors are gone, or that this server never gave,
        gets a batch with `resync`.
        """
        position = self._newest if after == NOW else min(after, self._newest)
        if position != after:
            yield Batch((), position, resync=after != NOW)
        asked = position
        while True:
            if position < (start := self._newest - len(self._ring)):
                assert self._history is not None
                page = await self._history(position, only, limit)
                resync = page.resync and position == asked
                position = page.cursor if page.more else max(page.cursor, start)
                if page.events or resync:
                    yield Batch(page.events, position, resync)
                continue
            news = self._news
            fresh = self._ring[position - start : position - start + limit]
            if fresh:
                position = fresh[-1].cursor
                events = fresh if only is EVERYTHING else [event for event in fresh if only.matches(event)]
                if events:
                    yield Batch(events, position)
            elif follow:
                await news.wait()
            else:
                return

    def _leave_run(self, run_id: str, watch: Watch) -> None:
        watches = self._of_run.get(run_id)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._of_run[run_id]

    def _trim(self) -> None:
        drop = max(0, len(self._ring) - self._ring_events)
        freed = sum(self._sizes[:drop])
        while self._bytes - freed > self._ring_bytes:
            freed += self._sizes[drop]
            drop += 1
        if drop:
            del self._ring[:drop], self._sizes[:drop]
            self._bytes -= freed
