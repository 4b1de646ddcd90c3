"""Promises 1–3, 6 and 8–10 for what the agent carries out itself: it dies, and the next one takes the step up again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support.cluster import running_cluster, settled, start_run, state_of
from support.waiting import until

WAITING = """
pipeline: waiting
params: {port: {type: integer}}
steps:
  - id: wait
    uses: check.tcp
    with: {port: "${{ params.port }}"}
    timeout: LIMIT
finally:
  - id: tidy
    run: echo "${{ steps.wait.state }}"
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _started(gateway: Gateway, port: int, limit: str = "60s") -> RunDocument:
    """The run, once the step has begun and said that nobody is there."""
    document = await start_run(gateway, WAITING.replace("LIMIT", limit), port=str(port))

    async def said() -> bool:
        found = await gateway.pipelines.get_run(document.run.id)
        return any(status.bytes for status in found.logs)

    await until(said, what="the step to begin")
    return document


async def _log(gateway: Gateway, document: RunDocument) -> str:
    async for update in gateway.pipelines.watch_run(document.run.id):
        if update.ended:
            break
    document = await gateway.pipelines.get_run(document.run.id)
    assert all(status.complete for status in document.logs), document.logs
    (status,) = (status for status in document.logs if status.ref.step_id == "wait")
    return (await gateway.state.read_log(status.ref, offset=0, limit=1 << 20)).data.decode()


@pytest.mark.parametrize("same_boot", [True, False])
async def test_a_step_is_taken_up_again_after_its_agent_was_killed(tmp_path: Path, same_boot: bool) -> None:
    """Also over a reboot: it knows by itself how to find out where it was."""
    port = free_port()
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await _started(gateway, port)
        await agent.kill()
        await agent.start(env=None if same_boot else {"GAMENODE_BOOT_ID": "another-boot"})
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        async with server:
            document = await settled(gateway, document.run.id)
        wait = document.tasks[0].steps[0]
        assert (state_of(document), wait.attempt, document.tasks[0].fence) == (RunState.SUCCEEDED, 1, 1)
        lines = (await _log(gateway, document)).splitlines()
        assert lines[0] == "connection refused"
        assert lines[-1] == f"127.0.0.1:{port} accepts connections"
        assert lines.count(lines[-1]) == 1


async def test_a_step_is_cancelled_that_was_taken_up_again(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await _started(gateway, free_port())
        await agent.kill()
        await cluster.cli("run", "cancel", document.run.id, "--reason", "enough")
        await agent.start()
        document = await settled(gateway, document.run.id)
        wait, tidy = document.tasks[0].steps
        assert state_of(document) is RunState.CANCELLED
        assert (wait.error.code, wait.attempt) == ("cancelled", 1)
        assert tidy.state == common_pb2.STEP_STATE_SUCCEEDED, "finally ran"
        await _log(gateway, document)


async def test_a_time_limit_that_passed_while_no_agent_ran_ends_the_step(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await _started(gateway, free_port(), "2s")
        await agent.kill()
        await asyncio.sleep(2.0)
        await agent.start()
        document = await settled(gateway, document.run.id)
        assert state_of(document) is RunState.FAILED
        assert document.tasks[0].steps[0].error.code == "step_timeout"


async def test_a_step_goes_on_while_the_supervisor_dies(tmp_path: Path) -> None:
    port = free_port()
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        document = await _started(gateway, port)
        assert agent.supervisor_pid is not None
        os.kill(agent.supervisor_pid, signal.SIGKILL)
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
        async with server:
            document = await settled(gateway, document.run.id)
        assert state_of(document) is RunState.SUCCEEDED
        assert (await _log(gateway, document)).count("connection refused") == 1


async def test_cancel_and_end_at_once_make_one_state_on_both_sides(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        for turn in range(12):
            port = free_port()
            document = await _started(gateway, port)
            server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
            async with server:
                # It looks twice a second: the cancel comes before, with or after the look that finds somebody.
                await asyncio.sleep(0.05 * turn)
                await cluster.cli("run", "cancel", document.run.id, "--reason", "enough", code=None)
                document = await settled(gateway, document.run.id)
            wait = document.tasks[0].steps[0]
            if state_of(document) is RunState.CANCELLED:
                assert wait.state in (common_pb2.STEP_STATE_CANCELLED, common_pb2.STEP_STATE_SUCCEEDED)
            else:
                assert state_of(document) is RunState.SUCCEEDED
                assert wait.state == common_pb2.STEP_STATE_SUCCEEDED
            await _log(gateway, document)
