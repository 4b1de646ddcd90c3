"""Promises 1–4, 11 and 21: agents, server, supervisors and Docker itself end at random moments while containers run.

Nothing is lost or doubled, nobody's containers are left behind, and what is not ours is not touched. The seed is
printed with every failure; `GAMENODE_SEED=n` runs that one again.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent.engines.containers import CLUSTER, RESTART, TASK
from gamenode_console.gateway import Gateway
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_proto.v1.common_pb2 import STEP_STATE_SUCCEEDED as SUCCEEDED
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support import effects
from support.cluster import Cluster, running_cluster, settled, start_run, state_of
from support.docker_engine import DockerEngineProcess, with_client
from support.killing import end_engine, kill_program
from support.play import IMAGE, PROGRAM
from support.waiting import until

LINES = 60
KILLS = 20 if os.environ.get("GAMENODE_FULL") else 2
#: Each has one run at a time: where a start takes longer than Docker stays, none ever ends.
LOADERS = 6
#: A step that waits for an engine is not to give up while it is only being started again.
ENV = {"GAMENODE_ENGINE_RETRY": "200ms", "GAMENODE_ENGINE_WAIT": "60s"}


@dataclass(frozen=True)
class Kind:
    """What is ended. `docker`: `stopped` or `killed`; with `live_restore` its containers do not notice."""

    program: str = ""
    docker: str = ""
    live_restore: bool = False

    @property
    def ends_containers(self) -> bool:
        return bool(self.docker) and not self.live_restore

    def __str__(self) -> str:
        return self.program or f"docker-{self.docker}{'-live-restore' * self.live_restore}"


KINDS = [
    *(Kind(program=program) for program in ("agent", "server", "supervisor")),
    *(Kind(docker=how, live_restore=live) for how in ("stopped", "killed") for live in (False, True)),
]


@dataclass
class History:
    """What the loaders were told has begun, by the id of the run; true: its process may be run again."""

    runs: dict[str, bool] = field(default_factory=dict)
    documents: dict[str, RunDocument] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    made_anew: set[str] = field(default_factory=set)


@asynccontextmanager
async def strangers(engine: DockerEngineProcess) -> AsyncIterator[list[str]]:
    """Containers of nobody and of another cluster; ids."""

    def make(api: Any) -> list[str]:
        found = []
        for name, labels in (("nobodys", {}), ("anothers", {CLUSTER: "another", RESTART: "always", TASK: "aaaa"})):
            config = api.create_host_config(network_mode="none")
            made = api.create_container(IMAGE, [PROGRAM, "sleep=3600"], name=name, labels=labels, host_config=config)
            api.start(made["Id"])
            found.append(str(made["Id"]))
        return found

    yield await asyncio.to_thread(with_client, engine.address, make)


def look(engine: DockerEngineProcess, ids: list[str]) -> list[tuple[str, bool, str]]:
    """Of each: its name, whether it runs, when it was started."""

    def ask(api: Any) -> list[tuple[str, bool, str]]:
        found = [api.inspect_container(each) for each in ids]
        return [(each["Name"], each["State"]["Running"], each["State"]["StartedAt"]) for each in found]

    return with_client(engine.address, ask)


def ours(engine: DockerEngineProcess) -> list[dict[str, Any]]:
    """The containers of the cluster under test, as Docker lists them."""

    def ask(api: Any) -> list[dict[str, Any]]:
        return [each for each in api.containers(all=True) if each["Labels"].get(CLUSTER) not in (None, "another")]

    return with_client(engine.address, ask)


async def has_room(gateway: Gateway, run_id: str, stop: asyncio.Event) -> bool:
    """Whether nothing more comes of a run as far as is known, or the load is to end."""
    try:
        state = state_of(await gateway.pipelines.get_run(run_id))
    except GameNodeError:  # it is the server that is away
        return stop.is_set()
    return state.ended or state is RunState.NEEDS_ATTENTION or stop.is_set()


async def work(
    cluster: Cluster, gateway: Gateway, engine: DockerEngineProcess, kind: Kind, dice: random.Random, folder: Path
) -> History:
    """Loads the cluster while things are ended; every run has settled when this returns."""
    history, stop = History(), asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            idempotent = dice.random() < 0.5
            text = effects.container_pipeline(idempotent=idempotent, inside=not kind.docker)
            node = dice.choice(cluster.agents).name
            try:
                begun = await start_run(gateway, text, nodes=[node], folder=str(folder), lines=str(LINES))
            except GameNodeError as error:
                if error.code not in {Code.DISCONNECTED, Code.TIMEOUT, Code.ENGINE_UNAVAILABLE}:
                    raise
                await asyncio.sleep(0.1)  # refused by name: the node has no engine at this moment
                continue
            history.runs[begun.run.id] = idempotent
            await until(partial(has_room, gateway, begun.run.id, stop), seconds=900, every=0.2, what="the run to end")

    async def kills() -> None:
        try:
            for _ in range(KILLS):
                await asyncio.sleep(dice.uniform(0.3, 1.3))
                if kind.docker:
                    await end_engine(engine, dice, kill=kind.docker == "killed", live_restore=kind.live_restore)
                else:
                    await kill_program(cluster, kind.program, dice)
            await asyncio.sleep(0.5)
        finally:
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(LOADERS):
            tasks.create_task(load())
        tasks.create_task(kills())

    for run_id in history.runs:
        try:
            document = await settled(gateway, run_id, seconds=120)
        except AssertionError:
            explained = await gateway.pipelines.explain(run_id)
            history.problems.append(f"run {run_id} is stuck: {explained}")
            continue
        if state_of(document).ended:
            async for update in gateway.pipelines.watch_run(run_id):
                if update.ended:
                    break
            document = await gateway.pipelines.get_run(run_id)
        history.documents[run_id] = document
    return history


def check_end(kind: Kind, document: RunDocument, *, idempotent: bool) -> list[str]:
    """What is wrong with how a run ended."""
    state = state_of(document)
    errors = [
        (s.id, s.attempt, s.error.code, s.error.message)
        for t in document.tasks
        for s in t.steps
        if s.error.code and s.attempt
    ]
    match state:
        case RunState.SUCCEEDED:
            return []
        case RunState.NEEDS_ATTENTION if kind.program == "supervisor" and not idempotent:
            return []
        case RunState.NEEDS_ATTENTION if kind.docker and not idempotent:
            # Docker went away in the middle of its start, and nobody knows whether it has run.
            if [(step, code) for step, _, code, _ in errors] == [("job", Code.LOST)]:
                return []
        case RunState.FAILED if kind.ends_containers:
            # Its container went down with the engine, and it says so; the rest of the run was not touched.
            if [(step, code) for step, _, code, _ in errors] == [("job", Code.ENGINE_UNAVAILABLE)]:
                return []
    return [f"run {document.run.id} is {state}: {errors} {[(t.id, t.fence, t.error.code) for t in document.tasks]}"]


async def check_logs(gateway: Gateway, document: RunDocument) -> list[str]:
    """What is missing in the logs of a run that has ended, and is not said to be."""
    problems = []
    steps = {(task.id, step.id, step.attempt): step for task in document.tasks for step in task.steps}
    fences = {task.id: task.fence for task in document.tasks}
    for log in document.logs:
        ref = log.ref
        what = f"{ref.task_id}/{ref.step_id}.{ref.attempt} of fence {ref.fence}"
        step = steps.get((ref.task_id, ref.step_id, ref.attempt))
        succeeded = ref.fence == fences[ref.task_id] and step is not None and step.state == SUCCEEDED
        # That of one that was lost has what there was, and says what is missing.
        if not log.complete and (succeeded or not log.holes):
            problems.append(f"{what}: not complete: {log}")
        if ref.step_id in ("first", "job"):
            text = await effects.whole_log(gateway, ref)
            lines = "".join(line for line in text.splitlines(True) if line.startswith("line "))
            cut_short = not succeeded or "the end of its output may be missing" in text
            problems += effects.check_lines(lines, LINES, what=what, cut_short=cut_short)
    return problems


async def made_anew(gateway: Gateway, document: RunDocument) -> set[str]:
    """Its tasks whose `serve` was started again, and says so: Docker went away in the middle of its start."""
    said = [(log.ref.task_id, await effects.whole_log(gateway, log.ref)) for log in document.logs]
    return {task for task, text in said if "making it anew" in text}


def check_effects(kind: Kind, history: History, trace: Path) -> list[str]:
    """Which steps ran too often, or never though they succeeded."""
    ran = effects.read(trace)
    #: What is lost is run again where it may be.
    again = kind.program == "supervisor" or bool(kind.docker)
    tasks = {task.id: run_id for run_id, document in history.documents.items() for task in document.tasks}
    problems = [f"{effect} belongs to no run" for effect in ran if effect.task_id not in tasks]
    for idempotent in (True, False):
        those = [e for e in ran if e.task_id in tasks and history.runs[tasks[e.task_id]] is idempotent]
        # A container that Docker ends is kept running by its agent.
        served_again = set(tasks) if kind.ends_containers else history.made_anew
        those = [each for each in those if each.step_id != "serve" or each.task_id not in served_again]
        problems += effects.doubled(those, by_attempt=again and idempotent)
    happened = {(effect.task_id, effect.step_id) for effect in ran}
    for document in history.documents.values():
        for task in document.tasks:
            done = {step.id for step in task.steps if step.state == SUCCEEDED}
            traced = done & {"first", "serve", "job", "inside"}
            problems += [f"{task.id}/{step} never ran" for step in traced if (task.id, step) not in happened]
    return problems


async def check_containers(engine: DockerEngineProcess, history: History) -> list[str]:
    """Containers of ours that no run accounts for: those of tasks that have ended were jobs, or were removed."""
    open_tasks = {
        task.id for document in history.documents.values() if not state_of(document).ended for task in document.tasks
    }

    def left() -> list[str]:
        return [f"{e['Names']} is left: {e['Status']}" for e in ours(engine) if e["Labels"].get(TASK) not in open_tasks]

    try:
        await until(lambda: not left(), seconds=15, what="what is left over to be removed")
    except AssertionError:
        return left()
    return []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_nothing_is_lost_or_doubled_while_containers_run(
    tmp_path: Path, docker_engine: DockerEngineProcess, kind: Kind
) -> None:
    if kind.docker and not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    seed = int(os.environ.get("GAMENODE_SEED") or random.randrange(1 << 32))
    dice = random.Random(seed)
    print(f"seed {seed}")
    folder = tmp_path / "effects"
    folder.mkdir()
    env = {**ENV, "GAMENODE_DOCKER_HOST": docker_engine.address}
    if kind.live_restore:
        await asyncio.to_thread(lambda: docker_engine.restart(live_restore=True))
    try:
        async with (
            strangers(docker_engine) as foreign,
            running_cluster(tmp_path, agents=["eu-1", "eu-2"], env=env) as cluster,
            cluster.gateway() as gateway,
        ):
            before = look(docker_engine, foreign)
            history = await work(cluster, gateway, docker_engine, kind, dice, folder)
            problems = history.problems
            assert len(history.runs) > KILLS, "there was no load"
            for run_id, document in history.documents.items():
                problems += check_end(kind, document, idempotent=history.runs[run_id])
                history.made_anew |= await made_anew(gateway, document)
                if state_of(document).ended:
                    problems += await check_logs(gateway, document)
            problems += check_effects(kind, history, folder / "trace")
            problems += await check_containers(docker_engine, history)
            # Docker ends what it ends; nobody else ends it, and nobody starts it again.
            untouched = [(name, not kind.ends_containers, started) for name, _, started in before]
            after = look(docker_engine, foreign)
            problems += [f"not ours, and touched: {after}"] if after != untouched else []
        ends = [str(state_of(document)) for document in history.documents.values()]
        print(f"{kind}: {len(ends)} runs: { {end: ends.count(end) for end in sorted(set(ends))} }")
        assert not problems, f"seed {seed}, {len(history.runs)} runs:\n" + "\n".join(problems[:40])
    finally:
        await asyncio.to_thread(docker_engine.clean)
        if kind.live_restore:
            await asyncio.to_thread(docker_engine.restart)
