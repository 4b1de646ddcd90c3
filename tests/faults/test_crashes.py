"""Promises 1–3, 5 and 6, each by itself: what an agent finds when it comes back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support import effects
from support.cluster import running_cluster, settled, start_run, state_of
from support.waiting import until

COUNTING = """
pipeline: counting
params: {trace: {type: string}, seconds: {type: integer, default: 3}}
steps:
  - id: count
    env: {TRACE: "${{ params.trace }}", TENTHS: "${{ params.seconds }}0"}
    run: |
      echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> "$TRACE"
      echo $$ > "$TRACE.pid"
      i=0
      while [ "$i" -lt "$TENTHS" ]; do echo "line $i"; i=$((i + 1)); sleep 0.1; done
      exit 5
"""


#: The same with a step that the agent carries out itself, after it or before it.
_NOTE = """
  - id: note
    uses: file.write
    with: {path: "${{ params.trace }}.note", content: "attempt of ${{ task.id }}"}
"""
MIXED = {
    "process": COUNTING + "finally:" + _NOTE,
    "inline": COUNTING.replace("steps:\n", f"steps:{_NOTE}"),
}


async def _whole_log(gateway: Gateway, document: RunDocument, step: str = "count") -> str:
    async for update in gateway.pipelines.watch_run(document.run.id):
        if update.ended:
            break
    document = await gateway.pipelines.get_run(document.run.id)
    (status,) = (status for status in document.logs if status.ref.step_id == step)
    assert status.complete
    return (await gateway.state.read_log(status.ref, offset=0, limit=1 << 20)).data.decode()


async def test_a_step_goes_on_without_its_agent_and_is_adopted(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await start_run(gateway, COUNTING, trace=str(trace), seconds="3")
        await until(lambda: effects.read(trace), what="the step to start")
        await asyncio.sleep(0.5)
        await agent.kill()
        await asyncio.sleep(0.7)
        await agent.start()
        document = await settled(gateway, document.run.id)
        step = document.tasks[0].steps[0]
        assert (state_of(document), step.exit_code, step.attempt) == (RunState.FAILED, 5, 1)
        assert len(effects.read(trace)) == 1
        assert effects.check_lines(await _whole_log(gateway, document), 30, what="count") == []


async def test_a_step_that_ends_while_the_agent_is_away_is_harvested(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await start_run(gateway, COUNTING, trace=str(trace), seconds="1")
        await until(lambda: effects.read(trace), what="the step to start")
        await agent.kill()
        await asyncio.sleep(1.5)
        await agent.start()
        document = await settled(gateway, document.run.id)
        step = document.tasks[0].steps[0]
        assert step.exit_code == 5
        assert 0.5 < step.finished_at - step.started_at < 1.6, "the end time is the step's, not the harvest's"
        assert effects.check_lines(await _whole_log(gateway, document), 10, what="count") == []


async def test_agents_finish_their_tasks_while_the_server_is_away(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1", "eu-2"]) as cluster:
        async with cluster.gateway() as gateway:
            document = await start_run(gateway, COUNTING, trace=str(trace), seconds="1")
            await until(lambda: len(effects.read(trace)) == 2, what="both steps to start")
        await cluster.server.kill()
        await asyncio.sleep(2.5)
        await cluster.start_server()
        async with cluster.gateway() as gateway:
            document = await settled(gateway, document.run.id)
            assert [task.steps[0].exit_code for task in document.tasks] == [5, 5]
            assert all(0.5 < t.steps[0].finished_at - t.steps[0].started_at < 1.8 for t in document.tasks)


async def test_after_a_reboot_nothing_is_adopted_and_a_person_decides(tmp_path: Path) -> None:
    """A reboot is another boot id: what may have run is asked about, and resolved by one audited command."""
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await start_run(gateway, COUNTING, trace=str(trace), seconds="60")
        await until(lambda: Path(f"{trace}.pid").exists(), what="the step to start")
        await agent.kill()
        await agent.start(env={"GAMENODE_BOOT_ID": "another-boot"})
        document = await settled(gateway, document.run.id)
        assert state_of(document) is RunState.NEEDS_ATTENTION
        assert document.tasks[0].state == common_pb2.TASK_STATE_NEEDS_ATTENTION
        await cluster.cli("run", "wait", document.run.id, code=8)
        await cluster.cli(
            "run",
            "resolve",
            document.run.id,
            "--node",
            "eu-1",
            "--as",
            "succeeded",
            "--reason",
            "looked at it",
            "--yes",
        )
        await cluster.cli("run", "wait", document.run.id, code=0)
        assert "looked at it" in await cluster.cli("audit", "ls", "-o", "json")


#: Passed by contents under way; `tests/contract/test_artifact_steps.py` dies there.
CARRIED = "artifacts."
FAILPOINTS = sorted(
    {
        name
        for path in (Path(__file__).parents[2] / "agent").rglob("*.py")
        for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())
        if not name.startswith(CARRIED)
    }
)


def test_there_are_failpoints() -> None:
    assert len(FAILPOINTS) >= 4
    assert {name.partition(".")[0] for name in FAILPOINTS} > {"inline", "runner", "journal"}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        *((name, "process") for name in FAILPOINTS),
        # What both pass on their way: here the step that the agent carries out itself comes there first.
        *((name, "inline") for name in FAILPOINTS if name.startswith(("runner.", "journal."))),
    ],
)
async def test_the_agent_dies_at_every_failpoint_and_the_effect_happens_once(
    tmp_path: Path, name: str, first: str
) -> None:
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        await agent.kill()
        await agent.start(env={"GAMENODE_FAILPOINTS": f"{name}=kill"}, wait=False)
        document = await start_run(gateway, MIXED[first], trace=str(trace), seconds="1")
        assert agent.process is not None
        try:
            await asyncio.wait_for(agent.process.wait(), 8)
        except TimeoutError:
            pytest.fail(f"a run never passes the failpoint {name}")
        await agent.start()
        document = await settled(gateway, document.run.id)
        assert state_of(document) is RunState.FAILED, document
        note, count = sorted(document.tasks[0].steps, key=lambda step: step.id, reverse=True)
        assert (note.attempt, note.outputs["path"]) == (1, f"{trace}.note")
        assert Path(f"{trace}.note").read_text() == f"attempt of {document.tasks[0].id}"
        assert (await _whole_log(gateway, document, "note")).splitlines()[-1] == f"{trace}.note: 23 bytes"
        assert count.exit_code == 5
        assert len(effects.read(trace)) == 1
        assert effects.check_lines(await _whole_log(gateway, document), 10, what=name) == []


#: Passed only at other moments than those of a run: a clean stop, and the start on a new or an old data dir.
ELSEWHERE = {"session.goodbye", "store.schema", "store.migration"}
SERVER_FAILPOINTS = sorted(
    {
        name
        for path in (Path(__file__).parents[2] / "server").rglob("*.py")
        for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())
        if not name.startswith(CARRIED)
    }
    - ELSEWHERE
)


@pytest.mark.parametrize("name", SERVER_FAILPOINTS)
async def test_the_server_dies_at_every_failpoint_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace"
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        await cluster.server.kill()
        await cluster.start_server(env={"GAMENODE_FAILPOINTS": f"{name}=kill"}, wait=False)
        async with asyncio.TaskGroup() as tasks:

            async def bring_back() -> None:
                assert cluster.server.process is not None
                await asyncio.wait_for(cluster.server.process.wait(), 20)
                await cluster.start_server()

            tasks.create_task(bring_back())
            document = await start_run(gateway, COUNTING, trace=str(trace), seconds="1")
            document = await settled(gateway, document.run.id)
        assert document.tasks[0].steps[0].exit_code == 5
        assert len(effects.read(trace)) == 1
        assert effects.check_lines(await _whole_log(gateway, document), 10, what=name) == []
