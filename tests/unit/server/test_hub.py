"""What watchers get: every event once and in order, what changed without a backlog, and nothing that grows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from gamenode_proto.v1 import work_pb2
from gamenode_server.hub import CHANGED_RUNS, NOW, Batch, Changes, EventFilter, EventPage, Hub
from gamenode_server.logs.refs import LogRef
from support.stores import a_task


@dataclass
class Past:
    """A history in memory, which notes what it was asked for."""

    events: list[work_pb2.Event] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    pruned: int = 0

    async def __call__(self, after: int, only: EventFilter, limit: int) -> EventPage:
        self.asked.append(after)
        await asyncio.sleep(0)
        found = [event for event in self.events if event.cursor > after and only.matches(event)]
        more = len(found) > limit
        found = found[:limit]
        newest = self.events[-1].cursor if self.events else 0
        return EventPage(found, found[-1].cursor if more else max(after, newest), more, 0 < after < self.pruned)


def _events(first: int, last: int, **fields: str) -> list[work_pb2.Event]:
    return [work_pb2.Event(cursor=cursor, type="x", time=float(cursor), **fields) for cursor in range(first, last + 1)]


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def hub(past: Past) -> Hub:
    hub = Hub(ring_events=10)
    hub.connect(past, newest=0)
    return hub


def _publish(hub: Hub, past: Past, events: Sequence[work_pb2.Event]) -> None:
    past.events.extend(events)
    hub.publish(events)


async def _cursors(hub: Hub, after: int, **options: object) -> list[int]:
    batches = hub.subscribe(after=after, follow=False, **options)  # type: ignore[arg-type]
    return [event.cursor async for batch in batches for event in batch.events]


async def _take(hub: Hub, count: int, **options: object) -> list[int]:
    """The first `count` events of a subscription that follows."""
    found: list[int] = []
    async with asyncio.timeout(5), aclosing(hub.subscribe(**options)) as batches:  # type: ignore[arg-type]
        async for batch in batches:
            found += [event.cursor for event in batch.events]
            if len(found) >= count:
                return found
    raise AssertionError("the subscription ended")


@pytest.mark.parametrize("after", [0, 3, 11, 12, 13, 25, 29, 30])
async def test_events_come_once_and_in_order_wherever_one_begins(hub: Hub, past: Past, after: int) -> None:
    for first in range(1, 30, 3):
        _publish(hub, past, _events(first, first + 2))
    assert await _cursors(hub, after) == list(range(after + 1, 31))
    assert await _cursors(hub, after, limit=2) == list(range(after + 1, 31))


async def test_what_is_in_the_ring_does_not_ask_the_store(hub: Hub, past: Past) -> None:
    _publish(hub, past, _events(1, 30))
    assert await _cursors(hub, 20) == list(range(21, 31))
    assert past.asked == []
    assert await _cursors(hub, 19) == list(range(20, 31))
    assert past.asked == [19]


async def test_a_server_that_begins_with_a_past(past: Past) -> None:
    past.events = _events(1, 7)
    hub = Hub()
    hub.connect(past, newest=7)
    assert await _cursors(hub, 0) == list(range(1, 8))
    assert await _cursors(hub, NOW) == []
    _publish(hub, past, _events(8, 9))
    assert await _cursors(hub, 5) == [6, 7, 8, 9]


async def test_the_newest_events_of_the_past_may_be_deleted() -> None:
    past = Past(_events(1, 3))
    hub = Hub()
    hub.connect(past, newest=7)  # 4 to 7 were deleted
    assert await _cursors(hub, 2) == [3]
    assert await _cursors(hub, 5) == []


async def test_followers_get_what_comes(hub: Hub, past: Past) -> None:
    _publish(hub, past, _events(1, 2))
    async with asyncio.TaskGroup() as group:
        from_now = group.create_task(_take(hub, 3))
        from_start = group.create_task(_take(hub, 5, after=0))
        await asyncio.sleep(0)
        for first in (3, 4, 5):
            _publish(hub, past, _events(first, first))
            await asyncio.sleep(0)
    assert from_now.result() == [3, 4, 5]
    assert from_start.result() == [1, 2, 3, 4, 5]


async def test_who_follows_from_now_on_is_told_where_now_is_at_once(hub: Hub, past: Past) -> None:
    _publish(hub, past, _events(1, 2))
    async with aclosing(hub.subscribe(after=NOW)) as batches:
        assert await anext(batches) == Batch((), 2)
    _publish(hub, past, _events(3, 3))  # while its connection is gone
    assert await _cursors(hub, 2) == [3]


async def test_a_sleeping_follower_costs_nothing_and_loses_nothing(hub: Hub, past: Past) -> None:
    async with aclosing(hub.subscribe(after=0)) as batches:
        _publish(hub, past, _events(1, 1))
        assert (await anext(batches)).cursor == 1
        _publish(hub, past, _events(2, 5000))  # and it does not look
        assert len(hub._ring) == len(hub._sizes) == 10
        found: list[int] = []
        while len(found) < 4999:
            found += [event.cursor for event in (await anext(batches)).events]
    assert found == list(range(2, 5001))


async def test_the_ring_is_bounded_by_bytes_too(past: Past) -> None:
    hub = Hub(ring_bytes=10_000)
    hub.connect(past, newest=0)
    _publish(hub, past, _events(1, 100, actor="x" * 1000))
    assert sum(event.ByteSize() for event in hub._ring) == hub._bytes <= 10_000
    assert await _cursors(hub, 0) == list(range(1, 101))
    huge = _events(101, 101, actor="x" * 100_000)
    _publish(hub, past, huge)
    assert (hub._ring, hub._bytes) == ([], 0)
    assert await _cursors(hub, 99) == [100, 101]


async def test_a_filter_keeps_its_place(hub: Hub, past: Past) -> None:
    for cursor in range(1, 31):
        _publish(hub, past, _events(cursor, cursor, run_id=f"r{cursor % 3}"))
    only = EventFilter(run_id="r1")
    assert await _cursors(hub, 0, only=only) == list(range(1, 31, 3))
    batches = [batch async for batch in hub.subscribe(after=25, only=only, follow=False, limit=3)]
    assert [([event.cursor for event in batch.events], batch.cursor) for batch in batches] == [([28], 28)]
    assert [batch async for batch in hub.subscribe(after=0, only=EventFilter(run_id="no"), follow=False)] == []


async def test_a_cursor_that_is_too_old_or_not_ours_is_told(hub: Hub, past: Past) -> None:
    _publish(hub, past, _events(1, 30))
    past.pruned = 8
    del past.events[:8]
    first = await anext(hub.subscribe(after=3))
    assert (first.resync, first.events[0].cursor) == (True, 9)
    assert not (await anext(hub.subscribe(after=8))).resync
    assert not (await anext(hub.subscribe(after=0))).resync
    stranger = hub.subscribe(after=1000)
    assert await anext(stranger) == Batch((), 30, resync=True)
    _publish(hub, past, _events(31, 31))
    assert [event.cursor for event in (await anext(stranger)).events] == [31]
    await stranger.aclose()


# -- changes ----------------------------------------------------------------------------------------------------------


async def test_a_watch_says_what_changed_since_it_was_last_asked(hub: Hub) -> None:
    ref = LogRef("r1", "t1", 1, "s", 1)
    with hub.watch_run("r1") as one, hub.watch_nodes() as nodes:
        for _ in range(1000):
            hub.committed([], runs=["r1", "r2"], tasks=[a_task("t1", "r1"), a_task("t2", "r2")], nodes=["n1"])
            hub.mark_log(ref)
        changes = await one.changed()
        assert (changes.runs, changes.tasks, changes.nodes, changes.logs) == ({"r1"}, {"t1"}, set(), {ref})
        assert (await nodes.changed()).nodes == {"n1"}
        assert not one.take()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await one.changed()
        hub.mark_task("r1", "t9")
        assert (await one.changed()).tasks == {"t9"}
    hub.mark_run("r1")
    hub.mark_node("n1")
    assert [bool(watch.take()) for watch in (one, nodes)] == [False] * 2
    assert (hub._of_run, hub._of_nodes) == ({}, set())


async def test_a_watch_of_all_runs_hears_of_every_run_and_of_no_task(hub: Hub) -> None:
    with hub.watch_runs() as watch:
        hub.committed([], runs=["r1", "r2"], tasks=[a_task("t1", "r1")], nodes=["n1"])
        changes = await watch.changed()
        assert (changes.runs, changes.tasks, changes.nodes, changes.behind) == ({"r1", "r2"}, set(), set(), False)
    hub.mark_run("r1")
    assert not watch.take()


def test_a_watch_of_all_runs_that_nobody_reads_stays_small(hub: Hub) -> None:
    with hub.watch_runs() as watch:
        for number in range(CHANGED_RUNS + 1):
            hub.mark_run(f"r{number}")
        changes = watch.take()
        assert (len(changes.runs), changes.behind) == (CHANGED_RUNS, True)
        hub.mark_run("r1")
        assert watch.take() == Changes(runs={"r1"})


async def test_a_watch_that_is_cancelled_while_it_waits_misses_nothing(hub: Hub) -> None:
    with hub.watch_run("r1") as watch:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(watch.changed())
            await asyncio.sleep(0)
            hub.mark_run("r1")
            waiting.cancel()
        assert watch.take().runs == {"r1"}


@pytest.mark.parametrize(
    ("only", "matches"),
    [
        (EventFilter(), True),
        (EventFilter(types=("task",)), True),
        (EventFilter(types=("task.started",)), True),
        (EventFilter(types=("tas",)), False),
        (EventFilter(types=("node", "task.started")), True),
        (EventFilter(run_id="r1", node_id="n1"), True),
        (EventFilter(run_id="r2"), False),
        (EventFilter(node_id="n2"), False),
        (EventFilter(since=10.0, until=10.0), True),
        (EventFilter(since=10.5), False),
        (EventFilter(until=9.5), False),
    ],
)
def test_filters(only: EventFilter, matches: bool) -> None:
    event = work_pb2.Event(cursor=1, time=10.0, type="task.started", node_id="n1", run_id="r1")
    assert only.matches(event) is matches
