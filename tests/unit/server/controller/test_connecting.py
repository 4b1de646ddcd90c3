"""Sessions: epochs, cursors, and what is put right when a node comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import OnLost
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.states import NodeState, RunState, TaskState
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.connect import close_session
from gamenode_server.controller.effects import ActivateSession, CloseSession, SendAssign, SendCancel, SendForget
from gamenode_server.controller.expire import expire_tasks
from gamenode_server.controller.nodes import (
    StateChange,
    change_states,
    label_node,
    quarantine_node,
    remove_node,
    revoke_node,
)
from support.fleet import AUDIT, Fleet, fleet, plan_of


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def test_an_epoch_only_grows_and_goes_above_what_the_agent_has_seen(world: Fleet) -> None:
    node = await world.node("a")
    first = world.epochs[node]
    assert await world.connect("a") == first + 1
    assert await world.connect("a", max_epoch=40) == 41


async def test_the_session_is_active_before_anything_is_sent_on_it(world: Fleet) -> None:
    await world.run(await world.node("a", online=False))
    world.effects.clear()
    await world.connect("a")
    assert isinstance(world.effects[0], ActivateSession)
    assert isinstance(world.effects[1], SendAssign)


async def test_the_outbox_goes_on_where_it_is_stored_to(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    world.take(ActivateSession)
    await world.connect("a", inventory=[Held(world.task().id, 1, TaskState.RUNNING)])
    assert world.take(ActivateSession)[0].acked == 3


@pytest.mark.parametrize(("outbox_id", "first", "acked"), [("new", 1, 0), ("new", 8, 7), ("box", 9, 8)])
async def test_records_that_cannot_come_any_more_are_declared(
    world: Fleet, outbox_id: str, first: int, acked: int
) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    world.take(ActivateSession)
    before = world.hub.newest
    await world.connect("a", outbox_id=outbox_id, first=first)
    assert "node.sync_failed" in await world.events(before)
    assert world.take(ActivateSession)[0].acked == acked


async def test_an_assignment_that_never_arrived_is_sent_again_with_its_fence(world: Fleet) -> None:
    await world.run(await world.node("a"))
    world.take(SendAssign)
    await world.connect("a")
    assert [effect.task.fence for effect in world.take(SendAssign)] == [1]
    assert world.task().fence == 1


async def test_one_the_agent_has_is_left_alone(world: Fleet) -> None:
    await world.run(await world.node("a"))
    world.take(SendAssign)
    await world.connect("a", inventory=[Held(world.task().id, 1, TaskState.RUNNING)])
    assert world.take(SendAssign) == []


@pytest.mark.parametrize(
    ("on_lost", "state"),
    [
        (OnLost.WAIT, TaskState.NEEDS_ATTENTION),
        (OnLost.FAIL, TaskState.FAILED),
        (OnLost.RETRY, TaskState.NEEDS_ATTENTION),
    ],
)
async def test_one_the_agent_has_forgotten_goes_by_on_lost(world: Fleet, on_lost: OnLost, state: TaskState) -> None:
    await world.run(await world.node("a"), plan=plan_of(on_lost=on_lost))
    await world.begin(world.task())
    await world.connect("a")
    assert world.task().state is state


async def test_a_cancel_asked_for_while_the_node_was_away_is_applied_when_it_is_back(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.state(node, NodeState.OFFLINE)
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    world.take(SendCancel)
    await world.connect("a", inventory=[Held(world.task().id, 1, TaskState.RUNNING)])
    assert [effect.task_id for effect in world.take(SendCancel)] == [world.task().id]


async def test_a_cancelled_assignment_that_never_arrived_ends_here(world: Fleet) -> None:
    await world.run(await world.node("a"))
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    assert world.stored_run().state is RunState.CANCELLING
    await world.connect("a")
    assert world.stored_run().state is RunState.CANCELLED


async def test_what_has_ended_may_be_forgotten(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    task = world.task()
    await world.begin(task)
    await world.end(task)
    await world.connect("a", inventory=[Held(task.id, 1, TaskState.SUCCEEDED)])
    assert [effect.tasks[0][:2] for effect in world.take(SendForget)] == [(task.id, 1)]


async def test_a_task_of_another_node_in_an_inventory_is_only_reported(world: Fleet) -> None:
    await world.run(await world.node("a"))
    await world.node("b")
    task, before = world.task(), world.hub.newest
    await world.connect("b", inventory=[Held(task.id, 1, TaskState.RUNNING)])
    assert "sync.task_unknown" in await world.events(before)
    assert world.task() == task


@pytest.mark.parametrize("state", [NodeState.REVOKED, NodeState.QUARANTINED])
async def test_a_barred_node_gets_no_session(world: Fleet, state: NodeState) -> None:
    node = await world.node("a")
    await world.state(node, state)
    with pytest.raises(GameNodeError) as raised:
        await world.connect("a")
    assert raised.value.code.value == state.value


async def test_goodbye_is_offline_at_once_unless_another_session_has_begun(world: Fleet) -> None:
    node = await world.node("a")
    epoch = world.epochs[node]
    assert await world.apply(close_session(node_id=node, epoch=epoch, reason="stopped"))
    assert world.stored_node(node).state is NodeState.OFFLINE
    await world.connect("a")
    assert not await world.apply(close_session(node_id=node, epoch=epoch, reason="stopped"))
    assert world.stored_node(node).state is NodeState.ONLINE


async def test_a_judgement_about_an_earlier_session_is_void(world: Fleet) -> None:
    node = await world.node("a")
    stale = StateChange(node, world.epochs[node] - 1, NodeState.OFFLINE, 1.0)
    assert await world.apply(change_states(world.plans, [stale])) == ()
    fresh = StateChange(node, world.epochs[node], NodeState.SUSPECT, 1.0, "silent")
    assert [n.state for n in await world.apply(change_states(world.plans, [fresh]))] == [NodeState.SUSPECT]


async def test_back_from_suspect_it_gets_what_waits(world: Fleet) -> None:
    node = await world.node("a")
    await world.state(node, NodeState.SUSPECT)
    await world.run(node)
    change = StateChange(node, world.epochs[node], NodeState.ONLINE, world.clock.now())
    await world.apply(change_states(world.plans, [change]))
    assert world.task().state is TaskState.DISPATCHED


async def test_revoking_closes_the_session_and_leaves_nothing_waiting_for_the_node(world: Fleet) -> None:
    node = await world.node("a", slots=1)
    await world.run(node)
    await world.begin(world.task())
    await world.run(node, id="waits")
    await world.apply(revoke_node(world.plans, node_id=node, by="ann", reason="stolen", audit=AUDIT))
    assert [effect.error.code for effect in world.take(CloseSession)] == [Code.REVOKED]
    assert world.task().state is TaskState.NEEDS_ATTENTION
    waits = world.task(run_id="waits")
    assert waits.state is TaskState.FAILED
    assert waits.error is not None
    assert waits.error.code is Code.REVOKED


async def test_quarantine_closes_the_session_and_keeps_what_runs(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.apply(quarantine_node(world.plans, node_id=node, reason="two of them"))
    assert world.stored_node(node).state is NodeState.QUARANTINED
    assert world.task().state is TaskState.RUNNING
    assert len(world.take(CloseSession)) == 1


async def test_a_node_is_forgotten_only_when_nothing_of_it_can_move(world: Fleet) -> None:
    node = await world.node("a")
    remove = remove_node(node_id=node, by="ann", reason="", audit=AUDIT)
    with pytest.raises(GameNodeError, match="is online"):
        await world.apply(remove)
    await world.run(node)
    await world.state(node, NodeState.OFFLINE)
    with pytest.raises(GameNodeError, match="still has 1 task"):
        await world.apply(remove)
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    await world.apply(revoke_node(world.plans, node_id=node, by="ann", reason="", audit=AUDIT))
    await world.apply(remove)
    assert world.store.view.node(node) is None


async def test_labels_are_set_removed_and_checked(world: Fleet) -> None:
    node = await world.node("a", labels={"role": "game", "old": "1"})
    op = label_node(node_id=node, set_={"region": "eu"}, remove=["old"], by="ann", audit=AUDIT)
    assert dict((await world.apply(op)).labels) == {"role": "game", "region": "eu"}
    for bad, code in [
        (label_node(node_id=node, set_={}, remove=["none"], by="ann", audit=AUDIT), Code.NOT_FOUND),
        (label_node(node_id=node, set_={"bad key!": "x"}, remove=[], by="ann", audit=AUDIT), Code.INVALID_ARGUMENT),
        (label_node(node_id="nobody", set_={"a": "b"}, remove=[], by="ann", audit=AUDIT), Code.NOT_FOUND),
    ]:
        with pytest.raises(GameNodeError) as raised:
            await world.apply(bad)
        assert raised.value.code is code


async def test_a_silent_node_is_waited_for_until_the_tasks_time_is_up(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node, plan=plan_of(timeout=60.0, finally_timeout=10.0))
    await world.begin(world.task())
    await world.state(node, NodeState.OFFLINE)
    world.clock.time += 90
    assert await world.apply(expire_tasks(world.plans, grace=30)) == 0
    world.clock.time += 11
    assert await world.apply(expire_tasks(world.plans, grace=30)) == 1
    assert world.task().state is TaskState.NEEDS_ATTENTION
    assert world.task().lost_from is TaskState.RUNNING
    # The node comes back after all, and the task goes on where it stood.
    await world.connect("a", inventory=[Held(world.task().id, 1, TaskState.RUNNING)])
    assert world.task().state is TaskState.RUNNING
    await world.end(world.task())
    assert world.stored_run().state is RunState.SUCCEEDED


async def test_a_task_that_never_got_to_its_node_fails_in_the_end(world: Fleet) -> None:
    node = await world.node("a", online=False)
    await world.run(node, plan=plan_of(timeout=60.0))
    world.clock.time += 59
    assert await world.apply(expire_tasks(world.plans, grace=30)) == 0
    world.clock.time += 2
    assert await world.apply(expire_tasks(world.plans, grace=30)) == 1
    assert world.stored_run().state is RunState.FAILED
    error = world.task().error
    assert error is not None
    assert error.code is Code.TASK_TIMEOUT


async def test_on_lost_fail_does_not_wait_beyond_offline(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node, plan=plan_of(on_lost=OnLost.FAIL))
    await world.begin(world.task())
    await world.state(node, NodeState.OFFLINE)
    assert await world.apply(expire_tasks(world.plans, grace=30)) == 1
    assert world.stored_run().state is RunState.FAILED
