"""Emptying nodes: what runs goes on until the deadline, what waits is not given out, and the end is told once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.states import AdminState, NodeState, TaskState
from gamenode_server.controller import drain
from gamenode_server.controller.drain import drain_nodes, look_at_drains
from gamenode_server.controller.effects import SendAssign, SendCancel
from gamenode_server.controller.nodes import revoke_node, set_admin_state
from gamenode_server.records import Drain
from support.fleet import AUDIT, Fleet, fleet


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def begin(world: Fleet, *node_ids: str, deadline: float = 0.0, reason: str = "") -> None:
    op = drain_nodes(world.plans, node_ids=node_ids, deadline=deadline, by="ann", reason=reason, audit=AUDIT)
    await world.apply(op)


async def later(world: Fleet, seconds: float) -> None:
    world.clock.time += seconds
    await world.apply(look_at_drains(world.plans))


def drain_of(world: Fleet, node_id: str) -> Drain:
    found = world.stored_node(node_id).drain
    assert found is not None
    return found


async def test_an_empty_node_is_empty_at_once_and_gets_nothing(world: Fleet) -> None:
    node, before = await world.node("a"), world.hub.newest
    await begin(world, node)
    await world.run(node)
    assert (world.stored_node(node).admin_state, drain_of(world, node).done) == (AdminState.DRAINING, True)
    assert await world.events(before) == ["node.draining", "node.drained", "run.created", "run.started"]
    assert (world.task().state, world.take(SendAssign)) == (TaskState.PENDING, [])
    await later(world, 1e6)
    assert (await world.events(before)).count("node.drained") == 1


async def test_what_runs_ends_by_itself_and_what_waits_starts_when_the_node_is_let_go(world: Fleet) -> None:
    node = await world.node("a", slots=1)
    await world.run(node, id="r1")
    await world.run(node, id="r2")
    await world.begin(world.task(run_id="r1"))
    await begin(world, node)
    await later(world, 1e6)
    assert (world.take(SendCancel), drain_of(world, node).done) == ([], False)
    world.take(SendAssign)
    await world.end(world.task(run_id="r1"))
    await later(world, 1.0)
    assert (world.task(run_id="r1").state, drain_of(world, node).done) == (TaskState.SUCCEEDED, True)
    assert world.take(SendAssign) == []
    back = set_admin_state(world.plans, node_ids=[node], state=AdminState.ACTIVE, by="ann", reason="", audit=AUDIT)
    await world.apply(back)
    assert world.stored_node(node).drain is None
    assert [assign.task.run_id for assign in world.take(SendAssign)] == ["r2"]


async def test_the_deadline_cancels_what_is_left_there_and_nothing_else(world: Fleet) -> None:
    a, b = await world.node("a"), await world.node("b")
    await world.run(a, b)
    for task in world.tasks():
        await world.begin(task)
    await begin(world, a, deadline=60.0, reason="new disks")
    await later(world, 59.0)
    assert world.take(SendCancel) == []
    await later(world, 1.0)
    await later(world, 1.0)
    (sent,) = world.take(SendCancel)
    assert (sent.node_id, sent.cancel.by, sent.cancel.reason) == (a, "ann", "node a is drained: new disks")
    assert not drain_of(world, a).done


async def test_another_deadline_takes_the_place_of_the_first(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await begin(world, node, deadline=10.0)
    since = drain_of(world, node).since
    await later(world, 5.0)
    await begin(world, node, deadline=60.0)
    await later(world, 30.0)
    assert (world.take(SendCancel), drain_of(world, node).since) == ([], since)
    await begin(world, node)
    await later(world, 1e6)
    assert world.take(SendCancel) == []


async def test_tasks_that_do_not_end_keep_no_others_from_being_cancelled(
    world: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "CHUNK", 1)
    node = await world.node("a")
    for run in ("r1", "r2", "r3"):
        await world.run(node, id=run)
        await world.begin(world.task(run_id=run))
    await begin(world, node, deadline=1.0)
    for _ in range(3):
        await later(world, 1.0)
    assert len({sent.task_id for sent in world.take(SendCancel)}) == 3


async def test_a_node_that_is_away_is_not_empty_until_it_is_known_to_be(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.state(node, NodeState.OFFLINE)
    await begin(world, node, deadline=1.0)
    await later(world, 1e6)
    assert not drain_of(world, node).done
    await world.apply(revoke_node(world.plans, node_id=node, by="ann", reason="gone", audit=AUDIT))
    await later(world, 1.0)
    assert drain_of(world, node).done


async def test_one_that_is_unknown_drains_none(world: Fleet) -> None:
    node = await world.node("a")
    with pytest.raises(GameNodeError, match="no node"):
        await begin(world, node, "nobody")
    assert world.stored_node(node).drain is None


@pytest.mark.parametrize("state", [AdminState.ACTIVE, AdminState.DISABLED])
async def test_another_decision_ends_it(world: Fleet, state: Any) -> None:
    node = await world.node("a")
    await begin(world, node, deadline=5.0)
    await world.apply(set_admin_state(world.plans, node_ids=[node], state=state, by="ann", reason="", audit=AUDIT))
    assert (world.stored_node(node).admin_state, world.stored_node(node).drain) == (state, None)


async def test_a_cordon_does_not_let_go_what_a_drain_holds_back(world: Fleet) -> None:
    node = await world.node("a")
    await begin(world, node, deadline=5.0)
    op = set_admin_state(world.plans, node_ids=[node], state=AdminState.CORDONED, by="ann", reason="", audit=AUDIT)
    with pytest.raises(GameNodeError, match="uncordon it first"):
        await world.apply(op)
    assert world.stored_node(node).drain is not None
