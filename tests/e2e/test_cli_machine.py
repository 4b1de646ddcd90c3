"""`gamenode up`, a run, `gamenode down`: the way of `make run`, with real programs on one data dir."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from support.cluster import end_processes_of, running_cluster

FREE = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")
COUNT = """
pipeline: count
steps:
  - id: count
    run: for i in $(seq 30); do echo "line $i"; sleep 0.1; done
"""


class Machine:
    """The client on one data dir."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        base = {key: value for key, value in os.environ.items() if not key.startswith("GAMENODE_")}
        self.env = {**base, "HOME": str(data_dir.parent)}

    async def popen(self, *words: str) -> asyncio.subprocess.Process:
        argv = [sys.executable, "-m", "gamenode_console", "--data-dir", str(self.data_dir), *words]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*argv, env=self.env, stdin=pipe, stdout=pipe, stderr=pipe)

    async def cli(self, *words: str, code: int = 0) -> tuple[str, str]:
        process = await self.popen(*words)
        out, err = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode == code, (words, out.decode(), err.decode())
        assert b"Traceback" not in err
        return out.decode(), err.decode()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    try:
        yield Machine(tmp_path / "data")
    finally:
        end_processes_of(tmp_path)


def daemons(data_dir: Path, modules: Sequence[str] = ("gamenode_server", "gamenode_agent")) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(data_dir) in words and any(module in words for module in modules):
            found.append(process)
    return found


async def test_up_run_down_and_up_again(machine: Machine) -> None:
    _, err = await machine.cli("up", "--name", "here", "--label", "role=game", *FREE)
    assert "server: ready" in err
    assert "agent: ready, node here is online" in err
    (node,) = json.loads((await machine.cli("node", "ls", "-o", "json"))[0])
    assert (node["name"], node["state"], node["labels"]) == ("here", "online", {"role": "game"})
    running = {process.pid for process in daemons(machine.data_dir)}

    _, err = await machine.cli("up")
    assert err.count("runs already") == 2
    assert {process.pid for process in daemons(machine.data_dir)} == running, "nothing is started twice"

    out, err = await machine.cli("pipeline", "run", "host-report", "--follow")
    assert "cpu_memory" in out
    assert "succeeded" in err
    assert (await machine.cli("doctor"))[0]
    document = json.loads((await machine.cli("pipeline", "run", "hello", "--wait", "-o", "json"))[0])
    assert document["state"] == "succeeded"
    assert all(step["log"]["complete"] for step in document["tasks"][0]["steps"])

    _, err = await machine.cli("down")
    assert err.splitlines() == ["agent: stopped", "server: stopped"]
    assert not daemons(machine.data_dir)
    await machine.cli("node", "ls", code=4)
    _, err = await machine.cli("down")
    assert err.count("was not running") == 2

    # On other ports: the agent is told.
    _, err = await machine.cli("up", *FREE)
    assert "agent: ready, node here is online" in err
    (node,) = json.loads((await machine.cli("node", "ls", "-o", "json"))[0])
    assert node["name"] == "here"
    assert json.loads((await machine.cli("run", "show", document["id"], "-o", "json"))[0]) == document
    await machine.cli("down")


async def test_up_says_why_it_cannot(machine: Machine) -> None:
    _, err = await machine.cli("up", "--listen", "nowhere", code=1)
    assert "nowhere" in err
    assert "HOST:PORT" in err
    assert not daemons(machine.data_dir)


async def test_following_goes_on_over_the_death_of_the_server(tmp_path: Path) -> None:
    pipeline = tmp_path / "count.yaml"
    pipeline.write_text(COUNT)
    async with running_cluster(tmp_path / "cluster", agents=["a"]) as cluster:
        client = Machine(cluster.data_dir)
        client.env = dict(cluster.env)
        follower = await client.popen("pipeline", "run", str(pipeline), "--follow")
        assert follower.stdout is not None
        first = await asyncio.wait_for(follower.stdout.readline(), 30)
        await cluster.server.kill(signal.SIGKILL)
        await cluster.start_server()
        out, err = await asyncio.wait_for(follower.communicate(), 60)
    assert follower.returncode == 0, err.decode()
    assert (first + out).decode().splitlines() == [f"line {i}" for i in range(1, 31)]
    assert b"connection lost" in err
    assert b"connected again" in err


async def test_waiting_over_the_death_of_the_server(tmp_path: Path) -> None:
    pipeline = tmp_path / "count.yaml"
    pipeline.write_text(COUNT + "  - id: fail\n    run: exit 7\n")
    async with running_cluster(tmp_path / "cluster", agents=["a"]) as cluster:
        client = Machine(cluster.data_dir)
        client.env = dict(cluster.env)
        run_id = (await client.cli("pipeline", "run", str(pipeline), "-o", "name"))[0].strip()
        waiting = await client.popen("run", "wait", run_id)
        await asyncio.sleep(0.5)
        await cluster.server.kill(signal.SIGKILL)
        await cluster.start_server()
        await asyncio.wait_for(waiting.communicate(), 60)
        assert waiting.returncode == 1
        out, _ = await client.cli("run", "logs", run_id, "--step", "count")
    assert out.splitlines() == [f"line {i}" for i in range(1, 31)]
