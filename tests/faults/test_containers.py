"""Promises 2, 3, 6, 7, 20 and 21 for containers, each by itself: a real server, a real agent, a Docker of our own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gamenode_agent.engines.containers import ATTEMPT, FENCE, NODE, RUN, STEP, TASK
from gamenode_console.gateway import Gateway
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support import effects
from support.cluster import Cluster, settled, start_run, state_of
from support.container_runs import COUNTING, IN, ended, log_of, ours_to_stop, steps_of
from support.docker_engine import DockerEngineProcess
from support.play import PROGRAM
from support.seen_containers import SeenContainers
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# -- nothing lost, nothing twice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        *("failpoint runner.before_spawn", "failpoint inline.begun", "failpoint runner.after_spawn"),
        *("docker create", "docker start", "docker die"),
        *("failpoint inline.before_end", "failpoint inline.ended"),
    ],
)
async def test_the_agent_dies_around_start_and_end_of_a_container_that_runs_once(
    docker_cluster: Cluster, gateway: Gateway, seen: SeenContainers, tmp_path: Path, moment: str
) -> None:
    (agent,) = docker_cluster.agents
    kind, _, name = moment.partition(" ")
    if kind == "failpoint":
        await agent.kill()
        await agent.start(env={"GAMENODE_FAILPOINTS": f"{name}=kill"})
        document = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="5")
    else:
        async with seen.killing_at(name, agent.pid):
            document = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="5")
    assert agent.process is not None
    await asyncio.wait_for(agent.process.wait(), 20)
    await agent.start()
    document = await ended(gateway, document.run.id)
    count = steps_of(document)["count"]
    assert (state_of(document), count.exit_code, count.attempt) == (RunState.FAILED, 5, 1), count
    assert document.tasks[0].fence == 1
    assert len(effects.read(tmp_path / "trace")) == 1
    assert effects.check_lines(await log_of(gateway, document), 5, what=moment) == []
    assert not await seen.of_task(document.tasks[0].id)


async def test_a_container_that_ends_while_the_agent_is_away_is_harvested_once(
    docker_cluster: Cluster, gateway: Gateway, seen: SeenContainers, tmp_path: Path
) -> None:
    (agent,) = docker_cluster.agents
    document = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="20")
    (task,) = document.tasks
    container = (await seen.of_task_running(task.id))["Id"]
    await agent.kill()
    await seen.ask(lambda api: api.wait(container))
    away = time.time()
    await asyncio.sleep(1.0)
    await agent.start()
    document = await ended(gateway, document.run.id)
    count = steps_of(document)["count"]
    assert (count.exit_code, count.attempt) == (5, 1)
    assert count.finished_at < away + 0.5, "the end is the container's, not the harvest's"
    assert len(effects.read(tmp_path / "trace")) == 1
    assert effects.check_lines(await log_of(gateway, document), 20, what="count") == []
    assert not await seen.of_task(task.id)


ONCE_OR_AGAIN = f"""
pipeline: reboot
params: {{folder: {{type: string}}}}
on_lost: ON_LOST
steps:
  - id: serve
    uses: container.run
    with: {{name: "game-${{{{ task.id }}}}", {IN}, restart: always, command: [{PROGRAM}, sleep=600]}}
  - id: work
    uses: container.job
    idempotent: IDEMPOTENT
    with:
      {IN.replace(", ", chr(10) + "      ")}
      volumes: ["${{{{ params.folder }}}}:/effects"]
      command: [sh, -c, '
        echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> /effects/trace;
        trap "exit 143" TERM; [ -e /effects/again ] && exit 0; : > /effects/again; while :; do sleep 0.1; done']
"""


async def test_after_a_reboot_a_job_runs_again_only_where_it_may_and_servers_are_up_again(
    docker_cluster: Cluster, gateway: Gateway, seen: SeenContainers, docker_engine: DockerEngineProcess, tmp_path: Path
) -> None:
    """The host is what ends them all: agent, engine and containers; then there is another boot id."""
    ours_to_stop(docker_engine)
    (agent,) = docker_cluster.agents
    runs: dict[bool, RunDocument] = {}
    for again in (False, True):
        folder = tmp_path / str(again)
        folder.mkdir()
        words = {"ON_LOST": "retry" if again else "wait", "IDEMPOTENT": str(again).lower()}
        text = ONCE_OR_AGAIN
        for word, value in words.items():
            text = text.replace(word, value)
        runs[again] = await start_run(gateway, text, folder=str(folder))
        await until((folder / "again").exists, seconds=60, what="the job to run")
    games = {f"game-{document.tasks[0].id}" for document in runs.values()}
    before = {name: await seen.state(name) for name in games}
    await agent.kill()
    await asyncio.to_thread(docker_engine.stop)
    await asyncio.to_thread(docker_engine.start)
    try:
        await agent.start(env={"GAMENODE_BOOT_ID": "another-boot"})
        once = await settled(gateway, runs[False].run.id)
        twice = await settled(gateway, runs[True].run.id)

        async def up() -> bool:
            return all([(await seen.state(name))[1] for name in games])

        await until(up, seconds=60, what="what is to run always")
    finally:
        await agent.kill()
        await agent.start()
    assert state_of(once) is RunState.NEEDS_ATTENTION
    assert len(effects.read(tmp_path / "False" / "trace")) == 1, "nobody has said that it may run again"
    assert (state_of(twice), twice.tasks[0].fence) == (RunState.SUCCEEDED, 2)
    assert [each.fence for each in effects.read(tmp_path / "True" / "trace")] == [1, 2]
    for name in games:
        identity, _, started = await seen.state(name)
        assert identity == before[name][0], "the same container"
        assert started != before[name][2], "started again"
    words = ("--node", "eu-1", "--as", "failed", "--reason", "looked at it", "--yes")
    await docker_cluster.cli("run", "resolve", once.run.id, *words)
    assert state_of(await settled(gateway, once.run.id)) is RunState.FAILED


# -- machines ----------------------------------------------------------------------------------------------------------

HUNGRY = f"""
pipeline: hungry
steps:
  - id: memory
    uses: container.job
    continue_on_error: true
    with: {{{IN}, command: [{PROGRAM}, eat=64m, sleep=5], resources: {{memory: 24m}}}}
  - id: forks
    uses: container.job
    continue_on_error: true
    with: {{{IN}, command: [{PROGRAM}, fork=60, sleep=600], resources: {{pids: 20}}}}
  - id: output
    uses: container.job
    continue_on_error: true
    timeout: 1500ms
    with: {{{IN}, command: [sh, -c, "yes $(head -c 4000 /dev/zero | tr '\\\\0' x)"], stop: {{signal: KILL}}}}
  - {{id: after, run: echo fine}}
"""


async def test_a_container_that_takes_more_than_it_may_is_stopped_and_the_agent_stays_well(
    gateway: Gateway, seen: SeenContainers
) -> None:
    states: set[str] = set()

    async def watch() -> None:
        while True:
            states.add(common_pb2.NodeState.Name((await gateway.state.get_node("eu-1")).state))
            await asyncio.sleep(0.05)

    document = await start_run(gateway, HUNGRY)
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(watch())
        document = await ended(gateway, document.run.id)
        watcher.cancel()
    steps = steps_of(document)
    codes = {name: step.error.code for name, step in steps.items()}
    assert codes == {"memory": "oom_killed", "forks": "resource_limit", "output": "step_timeout", "after": ""}
    assert steps["memory"].error.details["limit"] == "memory"
    assert steps["forks"].error.details["limit"] == "pids"
    (log,) = [log for log in document.logs if log.ref.step_id == "output"]
    assert log.complete or {hole.reason for hole in log.holes} == {"limit"}, "what is missing is named"
    assert log.bytes <= 64 << 20
    assert state_of(document) is RunState.SUCCEEDED
    assert states == {"NODE_STATE_ONLINE"}
    assert not await seen.of_task(document.tasks[0].id)


NAMED = f"""
pipeline: named
steps:
  - id: missing
    uses: container.job
    continue_on_error: true
    with: {{image: "gamenode-test/none:1", pull: never, network: none}}
  - id: taken
    uses: container.run
    continue_on_error: true
    with: {{name: theirs, {IN}, command: [{PROGRAM}, sleep=600], replace: true}}
  - id: stop
    uses: container.stop
    continue_on_error: true
    with: {{name: theirs, force: true}}
  - id: exec
    uses: container.exec
    continue_on_error: true
    with: {{name: theirs, command: [kill, "1"]}}
  - id: remove
    uses: container.remove
    continue_on_error: true
    with: {{name: theirs, force: true}}
  - id: wait
    shell: sh
    run: while [ ! -e PLACE ]; do sleep 0.05; done
  - id: job
    uses: container.job
    with: {{{IN}, command: [{PROGRAM}, sleep=1]}}
"""


async def test_what_is_in_the_way_is_named_and_what_is_not_ours_is_never_touched(
    gateway: Gateway, seen: SeenContainers, tmp_path: Path
) -> None:
    """Not even by a job that finds its own name taken by what has its own labels, but for the cluster's."""
    place = tmp_path / "go"
    theirs = {"theirs": await seen.stranger("theirs", {TASK: "task", STEP: "taken"})}
    document = await start_run(gateway, NAMED.replace("PLACE", str(place)))
    (task,) = document.tasks
    labels = {RUN: document.run.id, TASK: task.id, STEP: "job", ATTEMPT: "1", FENCE: "1", NODE: task.node.id}
    name = f"gn-{task.id}-job-1"
    theirs[name] = await seen.stranger(name, labels)
    place.touch()
    document = await settled(gateway, document.run.id)
    errors = {name: step.error for name, step in steps_of(document).items() if step.error.code}
    assert {step: error.code for step, error in errors.items()} == {
        "missing": "image_missing",
        "taken": "name_conflict",
        "stop": "permission_denied",
        "exec": "permission_denied",
        "remove": "permission_denied",
        "job": "name_conflict",
    }
    assert "gamenode-test/none:1" in errors["missing"].message
    assert "another cluster" in errors["taken"].message
    assert {each: await seen.state(each) for each in theirs} == theirs
    assert not await seen.of_task(task.id)


async def test_a_container_removed_by_hand_is_named_and_its_run_ends(
    gateway: Gateway, seen: SeenContainers, tmp_path: Path
) -> None:
    document = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="1200")
    container = await seen.of_task_running(document.tasks[0].id)
    await seen.remove(container["Id"])
    document = await ended(gateway, document.run.id)
    count = steps_of(document)["count"]
    assert (state_of(document), count.error.code, count.attempt) == (RunState.FAILED, "container_gone", 1)
    assert "removed" in count.error.message
    lines = (await log_of(gateway, document)).splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))], "what it had said is there"


async def test_docker_that_is_stopped_is_named_and_found_again_without_help(
    gateway: Gateway, seen: SeenContainers, docker_engine: DockerEngineProcess, docker_cluster: Cluster, tmp_path: Path
) -> None:
    ours_to_stop(docker_engine)
    (agent,) = docker_cluster.agents
    pid = agent.pid
    document = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="1200")
    await until(lambda: effects.read(tmp_path / "trace"), seconds=60, what="the container to run")
    await asyncio.to_thread(docker_engine.stop)
    try:

        async def refused() -> str:
            try:
                begun = await start_run(gateway, COUNTING, folder=str(tmp_path), lines="1")
            except GameNodeError as error:
                return str(error.code)
            await gateway.pipelines.cancel([begun.run.id])
            return ""

        assert await until(refused, what="new work to be refused") == "engine_unavailable"
    finally:
        await asyncio.to_thread(docker_engine.start)
    document = await ended(gateway, document.run.id)
    count = steps_of(document)["count"]
    assert (count.error.code, count.exit_code) == ("engine_unavailable", 143)
    assert len(effects.read(tmp_path / "trace")) == 1

    async def planned() -> RunDocument | None:
        try:
            return await start_run(gateway, COUNTING, folder=str(tmp_path), lines="1", code="0")
        except GameNodeError as error:
            if error.code is not Code.ENGINE_UNAVAILABLE:
                raise
            return None

    again = await until(planned, what="the engine to be found again")
    assert state_of(await settled(gateway, again.run.id)) is RunState.SUCCEEDED
    assert agent.pid == pid
    assert agent.runs
