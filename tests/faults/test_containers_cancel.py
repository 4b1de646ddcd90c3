"""Promises 8 and 9 for containers: one end whenever the cancel comes, and nothing of the container is left."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from gamenode_agent.engines.containers import STEP
from gamenode_console.gateway import Gateway
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from support.cluster import settled, start_run, state_of
from support.container_runs import IN, ours_to_stop, steps_of
from support.docker_engine import DockerEngineProcess
from support.play import PROGRAM
from support.seen_containers import SeenContainers, alive
from support.waiting import until

FULL = bool(os.environ.get("GAMENODE_FULL"))
RACES = 300 if FULL else 30
GRACE = 0.5

pytestmark = pytest.mark.asyncio(loop_scope="module")

RACE = f"""
pipeline: race
params: {{nap: {{type: string}}}}
steps:
  - id: serve
    uses: container.run
    with: {{name: "race-${{{{ task.id }}}}", {IN}, command: [{PROGRAM}, sleep=600]}}
  - id: job
    uses: container.job
    with: {{{IN}, command: [{PROGRAM}, print=up, "sleep=${{{{ params.nap }}}}"], stop: {{grace: 500ms}}}}
"""
_ENDS = {f"{what}.{end}" for what in ("run", "task") for end in ("succeeded", "failed", "cancelled")}


@pytest.mark.timeout(900)
async def test_cancel_at_any_moment_gives_one_end_and_leaves_no_container(
    gateway: Gateway, seen: SeenContainers
) -> None:
    seed = int(os.environ.get("GAMENODE_SEED") or random.randrange(1 << 32))
    dice = random.Random(seed)
    limit = asyncio.Semaphore(4)

    async def race() -> tuple[RunState, list[str]]:
        async with limit:
            document = await start_run(gateway, RACE, nap=f"{dice.uniform(0, 0.4):.2f}")
            await asyncio.sleep(dice.uniform(0, 1.5))
            try:
                await gateway.pipelines.cancel([document.run.id])
            except GameNodeError as error:
                if error.code is not Code.STATE_CONFLICT:  # it had ended: there was nothing to cancel
                    raise
            document = await settled(gateway, document.run.id)
        state, steps = state_of(document), steps_of(document)
        (task,) = document.tasks
        problems = []
        kinds = [
            event.type
            async for batch in gateway.state.watch_events(run=document.run.id)
            for event in batch.events
            if event.type in _ENDS
        ]
        if sorted(kinds) != [f"run.{state}", f"task.{state}"]:
            problems.append(f"ends: {kinds}")
        # What a finished step has started stays; of what has not finished there is nothing.
        served = steps["serve"].state == common_pb2.STEP_STATE_SUCCEEDED
        left = {each["Name"]: each["State"]["Running"] for each in await seen.of_task(task.id)}
        if left != ({f"/race-{task.id}": True} if served else {}):
            problems.append(f"containers: {left}, served: {served}")
        if served:
            await seen.remove(f"race-{task.id}")
        return state, [f"run {document.run.id} ({state}): {problem}" for problem in problems]

    async with asyncio.TaskGroup() as group:
        races = [group.create_task(race()) for _ in range(RACES)]
    states = [each.result()[0] for each in races]
    assert [problem for each in races for problem in each.result()[1]] == [], f"seed {seed}"
    assert set(states) <= {RunState.SUCCEEDED, RunState.CANCELLED}, f"seed {seed}"
    assert RunState.CANCELLED in states, f"seed {seed}"


STUBBORN = f"""
pipeline: stubborn
steps:
  - id: serve
    uses: container.run
    with: {{name: "game-${{{{ task.id }}}}", {IN}, restart: on-failure, command: [{PROGRAM}, sleep=600]}}
  - id: work
    uses: container.job
    with:
      {IN.replace(", ", chr(10) + "      ")}
      stop: {{grace: {GRACE}s}}
      command: [sh, -c, 'trap "" TERM; setsid sleep 601 & (sleep 602 &) ; echo up; while :; do sleep 0.1; done']
finally:
  - id: tidy
    run: echo "${{{{ task.state }}}}"
"""


async def working(gateway: Gateway, run_id: str) -> None:
    """Returns when the stubborn job has said that all of it runs."""

    async def said() -> bool:
        document = await gateway.pipelines.get_run(run_id)
        return any(log.ref.step_id == "work" and log.bytes for log in document.logs)

    await until(said, seconds=60, what="the job to say that it is up")


async def job_of(seen: SeenContainers, task_id: str) -> str:
    (found,) = [each["Id"] for each in await seen.of_task(task_id) if each["Config"]["Labels"][STEP] == "work"]
    return str(found)


async def test_cancel_ends_all_of_a_container_and_nothing_else(gateway: Gateway, seen: SeenContainers) -> None:
    bystander = await seen.stranger("bystander", {})
    document = await start_run(gateway, STUBBORN)
    (task,) = document.tasks
    await working(gateway, document.run.id)
    processes = await seen.processes(await job_of(seen, task.id))
    assert len(alive(processes)) >= 3
    served = await seen.state(f"game-{task.id}")
    asked = time.monotonic()
    await gateway.pipelines.cancel([document.run.id], reason="test")
    document = await settled(gateway, document.run.id)
    took = time.monotonic() - asked
    assert not alive(processes)
    assert took <= GRACE + 2.0
    steps = steps_of(document)
    assert (state_of(document), steps["work"].error.code) == (RunState.CANCELLED, "cancelled")
    assert steps["tidy"].state == common_pb2.STEP_STATE_SUCCEEDED, "finally ran"
    assert [each["Name"] for each in await seen.of_task(task.id)] == [f"/game-{task.id}"]
    assert await seen.state(f"game-{task.id}") == served, "a finished step had started it"
    assert await seen.state("bystander") == bystander


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_cancel_while_docker_is_away_takes_effect_when_it_is_back(
    gateway: Gateway, seen: SeenContainers, docker_engine: DockerEngineProcess, how: str
) -> None:
    ours_to_stop(docker_engine)
    document = await start_run(gateway, STUBBORN)
    (task,) = document.tasks
    await working(gateway, document.run.id)
    processes = await seen.processes(await job_of(seen, task.id))
    if how == "frozen":
        docker_engine.freeze()
    else:
        await asyncio.to_thread(docker_engine.kill)
    try:
        await gateway.pipelines.cancel([document.run.id], reason="test")
        await asyncio.sleep(GRACE + 1.5)
        waiting = await gateway.pipelines.get_run(document.run.id)
        assert state_of(waiting) is RunState.CANCELLING, "nobody can see that it has ended"
        assert alive(processes)
    finally:
        if how == "frozen":
            docker_engine.thaw()
        else:
            await asyncio.to_thread(docker_engine.start)
    document = await settled(gateway, document.run.id)
    assert not alive(processes)
    steps = steps_of(document)
    assert (state_of(document), steps["work"].error.code) == (RunState.CANCELLED, "cancelled")
    assert steps["tidy"].state == common_pb2.STEP_STATE_SUCCEEDED, "finally ran"
    assert [each["Name"] for each in await seen.of_task(task.id)] == [f"/game-{task.id}"]
