"""Why a run does not move, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import StepEnded, StepLost
from gamenode_pipelines.plan import Plan, RetryPolicy, Script, StepPlan
from gamenode_pipelines.states import AdminState, NodeState
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.explain import World, explain_run
from gamenode_server.controller.slots import holds_slot
from support.fleet import AUDIT, Fleet, fleet, plan_of


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


def explain(world: Fleet, plan: Plan, run_id: str = "run") -> tuple[str, list[str]]:
    view = world.store.view
    nodes = {node.id: node for node in view.nodes()}
    taken = {node_id: sum(map(holds_slot, view.live_tasks_on(node_id))) for node_id in nodes}
    around = World(nodes=nodes, taken=taken, grace=30.0, now=world.clock.now())
    summary, lines = explain_run(world.stored_run(run_id), world.tasks(run_id), plan, around)
    return summary, [line.text for line in lines]


async def test_what_a_task_can_be_waiting_for(world: Fleet) -> None:
    plan = plan_of(StepPlan(id="go", script=Script(text="x"), timeout=90.0, retry=RetryPolicy(attempts=2, backoff=8.0)))
    node = await world.node("a", slots=1)
    away = await world.node("b", online=False)
    await world.run(node, plan=plan)
    assert explain(world, plan)[1] == ["sent to its agent, which has not taken it yet"]
    await world.begin(world.task())
    world.clock.time += 20
    assert explain(world, plan) == (
        "0 of 1 task(s) have ended",
        ["step go runs for 20s of 1m30s, attempt 1"],
    )
    await world.run(node, plan=plan, id="second")
    assert explain(world, plan, "second")[1] == ["it waits for a slot of its node: 1 of 1 are taken"]
    await world.run(node, away, plan=plan, id="third", max_parallel=1)
    assert explain(world, plan, "third")[1][1].startswith("its turn has not come: at most 1 task(s)")
    await world.run(away, plan=plan, id="fourth")
    (text,) = explain(world, plan, "fourth")[1]
    assert (
        text == "it is given out as soon as its node is online; node b is never_connected; waited for until 1m from now"
    )
    await world.report(node, (world.task(), StepEnded("go", 1, exit_code=1)))
    assert explain(world, plan)[1][0].startswith("step go is tried again in ")


async def test_what_waits_for_a_disabled_node_names_the_command(world: Fleet) -> None:
    plan = plan_of()
    node = await world.node("a", admin_state=AdminState.DISABLED)
    await world.run(node, plan=plan)
    assert explain(world, plan)[1] == ["its node is disabled; it is given out after: gamenode node enable a"]


async def test_what_only_a_person_can_move_names_the_command(world: Fleet) -> None:
    node, plan = await world.node("a"), plan_of()
    await world.run(node, plan=plan)
    await world.begin(world.task())
    await world.report(node, (world.task(), StepLost("go", 1, "the host was restarted")))
    summary, (text,) = explain(world, plan)
    assert summary.startswith("nothing in it can move without a person")
    assert "the host was restarted" in text
    assert "gamenode run resolve run --node a" in text


async def test_a_cancel_that_waits_for_its_node(world: Fleet) -> None:
    node, plan = await world.node("a"), plan_of()
    await world.run(node, plan=plan)
    await world.begin(world.task())
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    await world.state(node, NodeState.OFFLINE)
    world.clock.time += 5
    summary, (text,) = explain(world, plan)
    assert summary == "ann cancelled it; 1 of 1 task(s) have not ended"
    assert "node a is offline, last seen 5s ago" in text


async def test_what_is_over_says_how(world: Fleet) -> None:
    node, plan = await world.node("a"), plan_of()
    await world.run(node, plan=plan)
    await world.begin(world.task())
    await world.report(node, (world.task(), StepEnded("go", 1, error=Error(Code.OOM_KILLED, "too much memory"))))
    world.clock.time += 61
    assert explain(world, plan) == ("it failed 1m1s ago: its task failed", [])
