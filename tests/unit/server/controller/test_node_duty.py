"""Whether a node gets work: what is planned there goes on, waits or starts as its admin state says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.states import AdminState, TaskState
from gamenode_server.controller.effects import SendAssign
from gamenode_server.controller.nodes import set_admin_state
from gamenode_server.store import queries
from support.fleet import AUDIT, Fleet, fleet


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def put(world: Fleet, state: AdminState, *node_ids: str, reason: str = "") -> None:
    op = set_admin_state(world.plans, node_ids=node_ids, state=state, by="ann", reason=reason, audit=AUDIT)
    assert [node.admin_state for node in await world.apply(op)] == [state] * len(node_ids)


async def test_a_cordoned_node_goes_on_with_what_was_planned_there(world: Fleet) -> None:
    node = await world.node("a", slots=1)
    await world.run(node, id="r1")
    await world.run(node, id="r2")
    await put(world, AdminState.CORDONED, node)
    world.take(SendAssign)
    await world.begin(world.task(run_id="r1"))
    await world.end(world.task(run_id="r1"))
    assert [assign.task.run_id for assign in world.take(SendAssign)] == ["r2"]


async def test_a_disabled_node_keeps_what_runs_and_starts_nothing_until_it_is_enabled(world: Fleet) -> None:
    node = await world.node("a", slots=1)
    await world.run(node, id="r1")
    await world.run(node, id="r2")
    await put(world, AdminState.DISABLED, node)
    world.take(SendAssign)
    await world.begin(world.task(run_id="r1"))
    await world.end(world.task(run_id="r1"))
    assert world.task(run_id="r1").state is TaskState.SUCCEEDED
    assert (world.task(run_id="r2").state, world.take(SendAssign)) == (TaskState.PENDING, [])
    await put(world, AdminState.ACTIVE, node)
    assert [assign.task.run_id for assign in world.take(SendAssign)] == ["r2"]


async def test_every_change_is_an_event_and_no_change_is_none(world: Fleet) -> None:
    a, b = await world.node("a"), await world.node("b")
    before = world.hub.newest
    for state in (AdminState.CORDONED, AdminState.CORDONED, AdminState.ACTIVE, AdminState.DISABLED):
        await put(world, state, a, b, reason="new disks")
    with pytest.raises(GameNodeError, match="is disabled, which holds back more"):
        await put(world, AdminState.CORDONED, a)
    await put(world, AdminState.ACTIVE, a)
    words = ["cordoned", "uncordoned", "disabled"]
    expected = [f"node.{word}" for word in words for _ in range(2)]
    assert await world.events(before) == [*expected, "node.enabled"]
    page = await world.store.read(queries.list_events, after=before)
    assert page.events[0].actor == "ann"
    assert dict(page.events[0].data) == {"reason": "new disks"}


async def test_one_that_is_unknown_changes_none(world: Fleet) -> None:
    node = await world.node("a")
    with pytest.raises(GameNodeError, match="no node"):
        await put(world, AdminState.CORDONED, node, "nobody")
    assert world.stored_node(node).admin_state is AdminState.ACTIVE
