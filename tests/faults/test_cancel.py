"""Promises 8–10: cancel means dead, whatever the step does, and ends in one state that both sides share."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from support.cluster import Cluster, running_cluster, settled, start_run, state_of
from support.waiting import until

FULL = bool(os.environ.get("GAMENODE_FULL"))
RACES = 1000 if FULL else 60
GRACE = 0.5

STUBBORN = {
    "ignores TERM": "trap '' TERM; while :; do sleep 0.1; done",
    "in a new session": "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & wait",
    "daemonised": """
      python3 - <<'END'
      import os, signal, time
      if os.fork() == 0:
          os.setsid()
          if os.fork() == 0:
              signal.signal(signal.SIGTERM, signal.SIG_IGN)
              for fd in (0, 1, 2):
                  os.close(fd)
              time.sleep(600)
          os._exit(0)
      os.wait()
      END
      sleep 600
    """,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("cancel"), agents=["eu-1"]) as cluster:
        yield cluster


def _pipeline(script: str, started: Path) -> str:
    lines = "\n".join("      " + line for line in f"touch {started}\n{script}".splitlines())
    return f"""
pipeline: stubborn
steps:
  - id: work
    stop: {{grace: {GRACE}s}}
    run: |
{lines}
finally:
  - id: tidy
    run: echo "${{{{ task.state }}}}"
"""


def _processes_of(task_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GAMENODE_TASK_ID") == task_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", STUBBORN)
async def test_cancel_ends_the_whole_tree_and_nothing_else(cluster: Cluster, kind: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        async with cluster.gateway() as gateway:
            text = _pipeline(STUBBORN[kind].replace("\n      ", "\n"), started)
            document = await start_run(gateway, text)
            (task,) = document.tasks
            await until(started.exists, what="the step to start")
            await asyncio.sleep(0.3)
            assert _processes_of(task.id)
            asked = time.monotonic()
            await gateway.pipelines.cancel([document.run.id], reason="test")
            document = await settled(gateway, document.run.id)
            took = time.monotonic() - asked
        assert state_of(document) is RunState.CANCELLED
        assert not _processes_of(task.id)
        assert took <= GRACE + 2.0
        assert [step.state for step in document.tasks[0].steps] == [
            common_pb2.STEP_STATE_CANCELLED,
            common_pb2.STEP_STATE_SUCCEEDED,
        ]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(600)
async def test_cancel_racing_with_the_end_gives_one_state(cluster: Cluster) -> None:
    dice = random.Random(7)
    text = "pipeline: short\nparams: {d: {type: integer}}\nsteps:\n  - id: a\n    run: sleep 0.0${{ params.d }}\n"

    async with cluster.gateway() as gateway:

        async def race() -> RunState:
            document = await start_run(gateway, text, d=str(dice.randrange(10)))
            await asyncio.sleep(dice.uniform(0, 0.15))
            try:
                await gateway.pipelines.cancel([document.run.id])
            except GameNodeError as error:
                if error.code is not Code.STATE_CONFLICT:  # it had ended: there was nothing to cancel
                    raise
            document = await settled(gateway, document.run.id)
            seen = state_of(document)
            step = document.tasks[0].steps[0]
            if seen is RunState.SUCCEEDED:
                assert step.exit_code == 0
            again = await gateway.pipelines.get_run(document.run.id)
            assert state_of(again) is seen
            return seen

        limit = asyncio.Semaphore(6)

        async def limited() -> RunState:
            async with limit:
                return await race()

        states = await asyncio.gather(*(limited() for _ in range(RACES)))
    assert set(states) <= {RunState.SUCCEEDED, RunState.CANCELLED}
    assert RunState.CANCELLED in states


@pytest.mark.asyncio(loop_scope="module")
async def test_cancel_while_the_node_is_offline_is_applied_when_it_is_back(cluster: Cluster, tmp_path: Path) -> None:
    started = tmp_path / "started"
    (agent,) = cluster.agents
    async with cluster.gateway() as gateway:
        document = await start_run(gateway, _pipeline("sleep 600", started))
        await until(started.exists, what="the step to start")
        await agent.kill()
        await gateway.pipelines.cancel([document.run.id], reason="while away")
        waiting = await gateway.pipelines.get_run(document.run.id)
        assert state_of(waiting) is RunState.CANCELLING

        async def explained() -> bool:
            explanation = await gateway.pipelines.explain(document.run.id)
            return any("cancel" in each.text and "eu-1 is" in each.text for each in explanation.tasks)

        await until(explained, what="the explanation to say that the cancel waits for the node")
        assert _processes_of(document.tasks[0].id), "the step goes on without its agent"
        await agent.start()
        document = await settled(gateway, document.run.id)
    assert state_of(document) is RunState.CANCELLED
    assert not _processes_of(document.tasks[0].id)
