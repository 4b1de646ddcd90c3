"""What an agent reports is applied once, in order, and only by the agent whose it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import StepEnded, StepStarted, TaskAccepted, TaskEvent, TaskLost, TaskStarted
from gamenode_pipelines.states import RunState, TaskState
from gamenode_server.controller.updates import NodeReport, Record
from gamenode_server.store import queries
from support.fleet import Fleet, fleet


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


def accepted(world: Fleet, seq: int = 1) -> Record:
    task = world.task()
    return Record(seq, TaskEvent(task.id, task.fence, world.clock.now(), TaskAccepted()))


async def test_the_cursor_moves_with_what_is_applied(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    applied = await world.send(node, [accepted(world)])
    assert applied.acked == 1
    assert world.stored_node(node).outbox_acked == 1
    assert world.task().accepted


async def test_a_record_that_comes_again_is_acknowledged_and_has_no_effect(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    record = accepted(world)
    await world.send(node, [record])
    before, task = world.hub.newest, world.task()
    applied = await world.send(node, [record])
    assert applied.acked == 1
    assert world.hub.newest == before
    assert world.task() == task


async def test_a_batch_that_overlaps_is_applied_from_where_it_is_new(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    task = world.task()
    started = Record(2, TaskEvent(task.id, 1, world.clock.now(), TaskStarted()))
    await world.send(node, [accepted(world)])
    applied = await world.send(node, [accepted(world), started])
    assert applied.acked == 2
    assert world.task().state is TaskState.RUNNING


@pytest.mark.parametrize("seqs", [(2,), (1, 3), (3, 1)])
async def test_a_gap_is_refused_and_nothing_of_the_batch_applied(world: Fleet, seqs: tuple[int, ...]) -> None:
    node = await world.node("a")
    await world.run(node)
    with pytest.raises(GameNodeError) as raised:
        await world.send(node, [accepted(world, seq) for seq in seqs])
    assert raised.value.code is Code.PROTOCOL_ERROR
    assert world.stored_node(node).outbox_acked == 0
    assert not world.task().accepted


async def test_a_session_that_was_followed_by_another_may_not_report(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    old = world.epochs[node]
    await world.connect("a")
    with pytest.raises(GameNodeError) as raised:
        await world.send(node, [accepted(world)], epoch=old)
    assert raised.value.code is Code.SUPERSEDED
    assert not world.task().accepted


async def test_another_nodes_task_is_denied_and_audited_and_nothing_changes(world: Fleet) -> None:
    a, b = await world.node("a"), await world.node("b")
    await world.run(a)
    task = world.task()
    applied = await world.send(b, [Record(1, NodeReport(1.0, "agent.started")), accepted(world, 2)])
    assert applied.refused is not None
    assert applied.refused.code is Code.PERMISSION_DENIED
    assert applied.acked == 0
    assert world.task() == task
    assert world.stored_node(b).outbox_acked == 0
    (row,) = await world.store.read(queries.list_audit)
    assert (row.principal, row.outcome, row.target) == ("node:b", "permission_denied", task.id)


async def test_what_only_the_server_may_say_is_refused(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    task = world.task()
    with pytest.raises(GameNodeError) as raised:
        await world.send(node, [Record(1, TaskEvent(task.id, 1, world.clock.now(), TaskLost("no")))])
    assert raised.value.code is Code.PROTOCOL_ERROR
    assert world.task() == task


async def test_a_task_nobody_knows_does_not_stop_what_comes_behind_it(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    before = world.hub.newest
    unknown = Record(1, TaskEvent("neverseen222", 1, world.clock.now(), TaskAccepted()))
    applied = await world.send(node, [unknown, accepted(world, 2)])
    assert applied.acked == 2
    assert await world.events(before) == ["sync.task_unknown", "task.accepted"]


async def test_an_event_that_cannot_be_is_declared_and_acknowledged(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    task, before = world.task(), world.hub.newest
    applied = await world.report(node, (task, StepStarted("go", 1)))
    assert applied.acked == 1
    assert await world.events(before) == ["sync.failed"]
    assert world.task() == task


async def test_a_late_event_of_an_old_assignment_is_kept_as_history(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.end(world.task())
    before = world.hub.newest
    await world.report(node, (world.task(), StepEnded("go", 1, exit_code=1)))
    assert await world.events(before) == ["task.event_ignored"]
    assert world.stored_run().state is RunState.SUCCEEDED


async def test_the_time_of_an_event_is_the_agents_but_never_the_future(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    task, now, before = world.task(), world.clock.now(), world.hub.newest
    records = [
        Record(1, TaskEvent(task.id, 1, now - 50, TaskAccepted())),
        Record(2, TaskEvent(task.id, 1, now + 86_400, TaskStarted())),
    ]
    await world.send(node, records)
    times = []
    async for batch in world.hub.subscribe(after=before, follow=False):
        times += [event.time for event in batch.events]
    assert times == [now - 50, now]


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("agent.started", "agent.started"),
        ("engine.lost", "engine.lost"),
        ("run.succeeded", "agent.reported"),
        ("schedule.failed", "agent.reported"),
        ("user.created", "agent.reported"),
        ("Not A Type", "agent.reported"),
        ("x." * 200 + "y", "agent.reported"),
    ],
)
async def test_a_node_cannot_speak_in_the_servers_name(world: Fleet, said: str, stored: str) -> None:
    node = await world.node("a")
    before = world.hub.newest
    await world.send(node, [Record(1, NodeReport(1.0, said, {"k": "v" * 10_000}))])
    async for batch in world.hub.subscribe(after=before, follow=False):
        (event,) = batch.events
        assert event.type == stored
        assert event.node_id == node
        assert len(event.data["k"]) == 4096
        assert event.time == 1.0


async def test_a_record_of_a_newer_agent_is_passed_over_and_said_so(world: Fleet) -> None:
    node = await world.node("a")
    before = world.hub.newest
    assert (await world.send(node, [Record(1, None)])).acked == 1
    assert await world.events(before) == ["sync.record_skipped"]
