"""Cancelling and resolving: what is still the server's ends at once, what an agent has is asked of the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import CancelInfo, CancelRequested, StepEnded, StepLost, TaskEventBody
from gamenode_pipelines.plan import OnLost, Script, StepPlan
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, TaskState
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.effects import SendAssign, SendCancel, SendForget
from gamenode_server.controller.resolve import Resolution, resolve_task
from gamenode_server.controller.settle import resend
from gamenode_server.store import queries
from support.fleet import AUDIT, Fleet, fleet, plan_of


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def cancel(world: Fleet, *run_ids: str, force: bool = False) -> tuple[Run, ...]:
    op = cancel_runs(world.plans, run_ids=run_ids or ("run",), by="ann", reason="enough", force=force, audit=AUDIT)
    return await world.apply(op)


async def resolve(world: Fleet, as_: Resolution, node: str = "id-a") -> None:
    await world.apply(
        resolve_task(world.plans, run_id="run", node_id=node, as_=as_, by="ann", reason="I looked", audit=AUDIT)
    )


async def test_what_no_agent_has_is_cancelled_at_once(world: Fleet) -> None:
    await world.run(await world.node("a", online=False))
    (run,) = await cancel(world)
    assert run.state is RunState.CANCELLED
    assert run.error is not None
    assert run.error.message == "cancelled by ann: enough"
    assert world.task().state is TaskState.CANCELLED
    assert world.take(SendCancel) == []


async def test_what_an_agent_has_is_asked_of_the_agent(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    (run,) = await cancel(world)
    assert run.state is RunState.CANCELLING
    assert world.task().state is TaskState.RUNNING
    (sent,) = world.take(SendCancel)
    assert (sent.node_id, sent.fence, sent.cancel.reason) == (node, 1, "enough")
    task = world.task()
    await world.report(node, (task, CancelRequested(sent.cancel)))
    assert world.task().state is TaskState.CANCELLING
    await world.report(node, (task, StepEnded("go", 1, error=Error(Code.CANCELLED, "cancelled"))))
    assert world.stored_run().state is RunState.CANCELLED


async def test_a_cancel_that_comes_too_late_changes_no_end(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await cancel(world)
    await world.end(world.task())
    assert world.task().state is TaskState.SUCCEEDED
    assert world.stored_run().state is RunState.SUCCEEDED


async def test_an_unanswered_cancel_is_sent_again_until_it_is_taken(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await cancel(world)
    world.take(SendCancel)
    await world.apply(resend([node]))
    (again,) = world.take(SendCancel)
    await world.report(node, (world.task(), CancelRequested(again.cancel)))
    await world.apply(resend([node]))
    assert world.take(SendCancel) == []


async def test_a_second_cancel_with_force_is_passed_on(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await cancel(world)
    await world.report(node, (world.task(), CancelRequested(world.take(SendCancel)[0].cancel)))
    await cancel(world, force=True)
    (forced,) = world.take(SendCancel)
    assert forced.cancel.force


async def test_cancelling_what_has_ended_is_a_conflict_only_if_nothing_else_was_named(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.end(world.task())
    with pytest.raises(GameNodeError) as raised:
        await cancel(world)
    assert raised.value.code is Code.STATE_CONFLICT
    await world.run(node, id="other")
    ended, going = await cancel(world, "run", "other")
    assert (ended.state, going.state) == (RunState.SUCCEEDED, RunState.CANCELLING)


async def test_a_run_nobody_knows_is_not_found_and_nothing_is_cancelled(world: Fleet) -> None:
    await world.run(await world.node("a"))
    with pytest.raises(GameNodeError) as raised:
        await cancel(world, "run", "nothere")
    assert raised.value.code is Code.NOT_FOUND
    assert world.stored_run().cancel is None
    assert await world.store.read(queries.list_audit) == []


async def lose(world: Fleet) -> None:
    node = await world.node("a")
    await world.run(node)
    await world.begin(world.task())
    await world.report(node, (world.task(), StepLost("go", 1, "the host was restarted")))
    assert world.task().state is TaskState.NEEDS_ATTENTION
    assert world.stored_run().state is RunState.NEEDS_ATTENTION


@pytest.mark.parametrize(("as_", "state"), [("succeeded", RunState.SUCCEEDED), ("failed", RunState.FAILED)])
async def test_a_person_says_what_became_of_a_task(world: Fleet, as_: Resolution, state: RunState) -> None:
    await lose(world)
    await resolve(world, as_)
    assert world.stored_run().state is state
    (forget,) = world.take(SendForget)
    assert forget.tasks[0][:2] == (world.task().id, 1)
    assert len(await world.store.read(queries.list_audit)) == 1


async def test_resolved_as_retry_it_is_given_out_under_a_new_fence(world: Fleet) -> None:
    await lose(world)
    world.take(SendAssign)
    await resolve(world, "retry")
    assert (world.task().state, world.task().fence) == (TaskState.DISPATCHED, 2)
    assert [effect.task.fence for effect in world.take(SendAssign)] == [2]
    assert world.stored_run().state is RunState.RUNNING


async def test_what_moves_by_itself_is_not_resolved(world: Fleet) -> None:
    await world.run(await world.node("a"))
    with pytest.raises(GameNodeError) as raised:
        await resolve(world, "failed")
    assert raised.value.code is Code.STATE_CONFLICT
    with pytest.raises(GameNodeError) as raised:
        await resolve(world, "failed", node="id-elsewhere")
    assert raised.value.code is Code.NOT_FOUND


async def test_whichever_comes_first_cancel_and_end_have_one_outcome(world: Fleet) -> None:
    """Every order of the two, seen by agent and server alike: the agent's own order decides."""
    node = await world.node("a", slots=50)
    info = CancelInfo(by="ann")
    for number, cancel_first in enumerate([True, False]):
        run_id = f"run{number}"
        await world.run(node, id=run_id)
        task = world.task(run_id=run_id)
        await world.begin(task)
        await cancel(world, run_id)
        killed = StepEnded("go", 1, error=Error(Code.CANCELLED, "cancelled"))
        finished = StepEnded("go", 1, exit_code=0)
        bodies: list[TaskEventBody] = (
            [CancelRequested(info), killed] if cancel_first else [finished, CancelRequested(info)]
        )
        await world.report(node, *((task, body) for body in bodies))
        expected = RunState.CANCELLED if cancel_first else RunState.SUCCEEDED
        assert world.stored_run(run_id).state is expected
        assert replace(world.task(run_id=run_id)).state.ended


async def test_what_is_lost_before_its_cancel_arrives_is_not_given_out_again(world: Fleet) -> None:
    node = await world.node("a")
    step = StepPlan(id="go", script=Script(text="true"), idempotent=True)
    await world.run(node, plan=plan_of(step, on_lost=OnLost.RETRY))
    await world.begin(world.task())
    await cancel(world)
    world.take(SendAssign)
    await world.report(node, (world.task(), StepLost("go", 1, "the host was restarted")))
    assert (world.task().state, world.task().fence) == (TaskState.CANCELLED, 1)
    assert world.take(SendAssign) == []
    assert world.stored_run().state is RunState.CANCELLED
