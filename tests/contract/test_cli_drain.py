"""`gamenode node drain`, on a real server with real agents."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from support.cluster import running_cluster, settled, start_run, state_of
from support.waiting import until

HELD = """\
pipeline: held
params: {gate: {}}
steps: [{id: work, run: 'until [ -e "${{ params.gate }}" ]; do sleep 0.02; done'}]
"""


async def test_a_node_is_emptied_and_what_is_left_is_cancelled_at_the_deadline(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "c", agents=["eu-1", "eu-2"]) as cluster, cluster.gateway() as gateway:
        gate = tmp_path / "gate"
        run = await start_run(gateway, HELD, gate=str(gate))

        async def drain() -> dict[str, object]:
            node = json.loads(await cluster.cli("node", "show", "eu-1", "-o", "json"))
            return dict(node["drain"] or {})

        await cluster.cli("node", "drain", "eu-1", "--reason", "new disks")
        assert (await drain())["tasks_left"] == 1
        await cluster.cli("pipeline", "run", "hello", "--node", "eu-1", code=6)
        said = await cluster.cli("status")
        assert "eu-1 is being drained by" in said

        await cluster.server.kill(signal.SIGKILL)
        await cluster.start_server()
        assert (await drain())["reason"] == "new disks"

        out = await cluster.cli("node", "drain", "eu-1", "--deadline", "500ms", "--wait", "--reason", "new disks")
        assert out == "eu-1: empty\n"
        document = await gateway.pipelines.get_run(run.run.id)
        states = {task.node.name: (task.error.code, task.error.message) for task in document.tasks}
        assert states["eu-1"][0] == "cancelled"
        assert "node eu-1 is drained: new disks" in states["eu-1"][1]
        assert states["eu-2"] == ("", "")

        gate.touch()
        assert state_of(await settled(gateway, run.run.id)) == "failed"
        assert "node.drained" in await cluster.cli("events", "--node", "eu-1")
        await cluster.cli("node", "uncordon", "eu-1")
        assert await drain() == {}
        await cluster.cli("pipeline", "run", "hello", "--node", "eu-1", "--wait")


async def test_without_a_deadline_it_waits_for_as_long_as_it_takes(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        gate = tmp_path / "gate"
        run = await start_run(gateway, HELD, gate=str(gate))
        await cluster.cli("node", "drain", "eu-1", "--instances", "stop", code=2)
        await cluster.cli("node", "drain", "eu-1", "--timeout", "1s", code=2)
        await cluster.cli("node", "drain", "eu-1", "--deadline", "31d", code=2)
        await cluster.cli("node", "drain", "nobody", code=3)
        await cluster.cli("node", "drain", "eu-1", "--wait", "--timeout", "300ms", code=7)
        gate.touch()
        assert state_of(await settled(gateway, run.run.id)) == "succeeded"

        async def empty() -> bool:
            return bool(json.loads(await cluster.cli("node", "show", "eu-1", "-o", "json"))["drain"]["done"])

        await until(empty, what="the node to be empty")
        assert "is empty, since" in await cluster.cli("status")


async def test_waiting_for_a_node_that_somebody_lets_go_is_no_success(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        gate = tmp_path / "gate"
        run = await start_run(gateway, HELD, gate=str(gate))
        async with asyncio.TaskGroup() as group:
            group.create_task(cluster.cli("node", "drain", "eu-1", "--wait", code=6))

            async def drained() -> bool:
                return bool(json.loads(await cluster.cli("node", "show", "eu-1", "-o", "json"))["drain"])

            await until(drained, what="the node to be drained")
            await cluster.cli("node", "uncordon", "eu-1")
        gate.touch()
        assert state_of(await settled(gateway, run.run.id)) == "succeeded"
