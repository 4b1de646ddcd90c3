"""What one operation moves: slots, rollouts, assignments, and what follows from them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import TaskEvent, TaskRefused
from gamenode_pipelines.states import NodeState, RunState, TaskState
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.effects import ContinueRun, SendAssign, SendCancel
from gamenode_server.controller.moves import CHUNK, Moves
from gamenode_server.controller.settle import live_run_ids, settle_run
from gamenode_server.store.tx import Tx
from support.fleet import AUDIT, Fleet, fleet


@pytest.fixture
async def world() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def test_a_run_on_an_online_node_is_assigned_in_the_transaction_that_makes_it(world: Fleet) -> None:
    node = await world.node("a")
    run = await world.run(node)
    assert run.state is RunState.RUNNING
    task = world.task()
    assert (task.state, task.fence) == (TaskState.DISPATCHED, 1)
    (assign,) = world.take(SendAssign)
    assert assign.task == task
    assert assign.bundle_digest == run.bundle_digest


async def test_a_run_goes_from_its_creation_to_its_end(world: Fleet) -> None:
    node = await world.node("a")
    before = world.hub.newest
    await world.run(node)
    task = world.task()
    await world.begin(task)
    assert world.task().state is TaskState.RUNNING
    await world.end(task)
    assert world.task().state is TaskState.SUCCEEDED
    assert world.stored_run().state is RunState.SUCCEEDED
    assert await world.events(before) == [
        "run.created",
        "run.started",
        "task.assigned",
        "task.accepted",
        "task.started",
        "step.started",
        "step.succeeded",
        "task.succeeded",
        "run.succeeded",
    ]


async def test_a_failed_step_fails_task_and_run(world: Fleet) -> None:
    await world.run(await world.node("a"))
    await world.begin(world.task())
    before = world.hub.newest
    await world.end(world.task(), exit_code=3)
    assert world.stored_run().state is RunState.FAILED
    assert await world.events(before) == ["step.failed", "task.failed", "run.failed"]


async def test_a_node_that_is_not_there_gets_its_task_when_it_comes(world: Fleet) -> None:
    node = await world.node("a", online=False)
    await world.run(node)
    assert world.task().state is TaskState.PENDING
    assert world.take(SendAssign) == []
    await world.connect("a")
    assert world.task().state is TaskState.DISPATCHED
    assert [effect.task.fence for effect in world.take(SendAssign)] == [1]


async def test_slots_bound_what_a_node_is_given_and_a_free_one_is_filled_at_once(world: Fleet) -> None:
    node = await world.node("a", slots=2)
    for number in range(4):
        world.clock.time += 1
        await world.run(node, id=f"run{number}")
    states = [world.task(run_id=f"run{n}").state for n in range(4)]
    assert states == [TaskState.DISPATCHED, TaskState.DISPATCHED, TaskState.PENDING, TaskState.PENDING]
    world.take(SendAssign)
    first = world.task(run_id="run0")
    await world.begin(first)
    await world.end(first)
    assert [effect.task.run_id for effect in world.take(SendAssign)] == ["run2"]
    assert world.task(run_id="run3").state is TaskState.PENDING


async def test_a_rollout_starts_the_next_task_when_one_has_ended(world: Fleet) -> None:
    nodes = [await world.node(name) for name in "abc"]
    await world.run(*nodes, max_parallel=1)
    assert [t.state for t in world.tasks()] == [TaskState.DISPATCHED, TaskState.PENDING, TaskState.PENDING]
    await world.begin(world.task(0))
    await world.end(world.task(0))
    assert [t.state for t in world.tasks()] == [TaskState.SUCCEEDED, TaskState.DISPATCHED, TaskState.PENDING]


async def test_too_many_failures_skip_what_has_not_started(world: Fleet) -> None:
    nodes = [await world.node(name) for name in "abc"]
    await world.run(*nodes, max_parallel=1)
    await world.begin(world.task(0))
    await world.end(world.task(0), exit_code=1)
    assert [t.state for t in world.tasks()] == [TaskState.FAILED, TaskState.SKIPPED, TaskState.SKIPPED]
    assert world.stored_run().state is RunState.FAILED


async def test_nothing_starts_while_what_has_not_started_is_being_skipped(world: Fleet) -> None:
    nodes = [await world.node("a"), *[await world.node(f"n{number:04}", online=False) for number in range(CHUNK + 5)]]
    await world.run(*nodes)
    await world.apply(settle_run(world.plans, run_id="run"))
    await world.begin(world.task(0))
    await world.end(world.task(0), exit_code=1)
    world.effects.clear()
    left = [task for task in world.tasks() if task.state is TaskState.PENDING]
    for task in left:  # before the next chunk is skipped
        await world.connect(task.node.name)
    assert left
    assert world.take(SendAssign) == []


async def test_a_suspect_node_is_given_nothing(world: Fleet) -> None:
    node = await world.node("a")
    await world.state(node, NodeState.SUSPECT)
    await world.run(node)
    assert world.task().state is TaskState.PENDING


async def test_a_large_run_is_made_and_given_out_in_chunks(world: Fleet) -> None:
    nodes = [await world.node(f"n{number:04}") for number in range(CHUNK + 20)]
    run = await world.run(*nodes)
    assert run.state is RunState.PENDING
    assert len(world.tasks()) == CHUNK
    for _ in range(10):
        if not world.take(ContinueRun):
            break
        await world.apply(settle_run(world.plans, run_id="run"))
    assert world.stored_run().state is RunState.RUNNING
    assert {t.state for t in world.tasks()} == {TaskState.DISPATCHED}
    assert [t.position for t in world.tasks()] == list(range(len(nodes)))
    assert len({effect.task.id for effect in world.take(SendAssign)}) == len(nodes)


async def test_settling_what_is_settled_changes_nothing(world: Fleet) -> None:
    await world.run(await world.node("a"))
    before = world.hub.newest
    await world.apply(settle_run(world.plans, run_id="run"))
    assert world.hub.newest == before


async def test_a_large_run_that_a_crash_left_half_made_is_finished_later(world: Fleet) -> None:
    nodes = [await world.node(f"n{number:04}", online=False) for number in range(CHUNK + 20)]
    await world.run(*nodes)
    world.effects.clear()  # what the crash took with it
    assert await world.apply(live_run_ids) == ["run"]
    await world.apply(settle_run(world.plans, run_id="run"))
    assert world.stored_run().state is RunState.RUNNING
    assert len(world.tasks()) == len(nodes)


async def test_a_run_cancelled_while_it_is_made_gets_no_more_tasks(world: Fleet) -> None:
    nodes = [await world.node(f"n{number:04}", online=False) for number in range(CHUNK + 20)]
    await world.run(*nodes)
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    for _ in range(5):
        await world.apply(settle_run(world.plans, run_id="run"))
    run = world.stored_run()
    assert run.state is RunState.CANCELLED
    assert run.total == len(world.tasks()) == CHUNK


async def test_cancelling_a_large_run_goes_on_until_all_of_it_is_ended(world: Fleet) -> None:
    nodes = [await world.node(f"n{number:04}") for number in range(CHUNK + 20)]
    await world.run(*nodes, max_parallel=1)
    while world.take(ContinueRun):
        await world.apply(settle_run(world.plans, run_id="run"))
    await world.apply(cancel_runs(world.plans, run_ids=["run"], by="ann", reason="", force=False, audit=AUDIT))
    rounds = 0
    while world.take(ContinueRun):
        rounds += 1
        await world.apply(settle_run(world.plans, run_id="run"))
    assert rounds == 1
    assert world.stored_run().counts == {TaskState.DISPATCHED: 1, TaskState.CANCELLED: CHUNK + 19}
    assert len({effect.task_id for effect in world.take(SendCancel)}) == 1


async def test_places_that_become_free_together_are_filled_together(world: Fleet) -> None:
    nodes = [await world.node(name) for name in "abcdef"]
    await world.run(*nodes, max_parallel=3, max_failures=9)
    first = world.tasks()[:3]

    def op(tx: Tx) -> None:
        moves = Moves(tx, world.plans)
        for task in first:
            moves.fold(TaskEvent(task.id, task.fence, tx.now, TaskRefused(Error(Code.LOST, "its rack is gone"))))
        moves.finish()

    await world.apply(op)
    assert [task.state for task in world.tasks()] == [TaskState.FAILED] * 3 + [TaskState.DISPATCHED] * 3
