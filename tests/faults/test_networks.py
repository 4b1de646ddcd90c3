"""Promises 13–16: what bad networks do, with a proxy between an agent and its server. Times at a twentieth."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from support import effects
from support.cluster import Agent, Cluster, running_cluster, settled, start_run, state_of
from support.fault_proxy import Direction, FaultProxy
from support.waiting import until

#: Both ends must know of a black hole within 20 s; here a twentieth, and some for a busy machine.
KNOWN_WITHIN = 20 / 20 + 1.5
NUMBERED = """
pipeline: numbered
params: {trace: {type: string}, lines: {type: integer}, pause: {type: string, default: "0.1"}}
steps:
  - id: count
    env: {TRACE: "${{ params.trace }}", LINES: "${{ params.lines }}", PAUSE: "${{ params.pause }}"}
    run: |
      echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> "$TRACE"
      i=0
      while [ "$i" -lt "$LINES" ]; do echo "line $i"; i=$((i + 1)); sleep "$PAUSE"; done
"""


@dataclass
class Linked:
    """A cluster whose one agent reaches its server only through a proxy."""

    cluster: Cluster
    agent: Agent
    proxy: FaultProxy
    gateway: Gateway


@asynccontextmanager
async def linked(tmp_path: Path) -> AsyncIterator[Linked]:
    async with running_cluster(tmp_path) as cluster:
        port = int(cluster.server_file["listen"].rpartition(":")[2])
        async with FaultProxy(port).running() as proxy, cluster.gateway() as gateway:
            agent = await cluster.join("eu-1", labels={"role": "game"}, advertise=f"127.0.0.1:{proxy.port}")
            await agent.start()
            yield Linked(cluster, agent, proxy, gateway)


async def node_state(gateway: Gateway) -> int:
    return (await gateway.state.get_node("eu-1")).state


async def wait_state(gateway: Gateway, states: Iterable[common_pb2.NodeState.ValueType], seconds: float) -> None:
    wanted = set(states)

    async def look() -> bool:
        return await node_state(gateway) in wanted

    await until(look, seconds=seconds, what=f"the node to be {[common_pb2.NodeState.Name(s) for s in wanted]}")


@pytest.mark.parametrize("directions", [("up", "down"), ("up",), ("down",)], ids=["both ways", "up", "down"])
async def test_a_black_hole_is_seen_and_healed_without_help(tmp_path: Path, directions: tuple[Direction, ...]) -> None:
    trace = tmp_path / "trace"
    async with linked(tmp_path) as link:
        document = await start_run(link.gateway, NUMBERED, trace=str(trace), lines="80")
        await until(lambda: effects.read(trace), what="the step to start")
        link.proxy.lose(*directions)
        if "up" in directions:
            away = (common_pb2.NODE_STATE_SUSPECT, common_pb2.NODE_STATE_OFFLINE)
            await wait_state(link.gateway, away, KNOWN_WITHIN)
            await wait_state(link.gateway, [common_pb2.NODE_STATE_OFFLINE], 8)
        else:
            before = link.proxy.forwarded["up"]
            await until(lambda: link.proxy.connections == 0 or link.proxy.forwarded["up"] > before, seconds=5)
            await asyncio.sleep(KNOWN_WITHIN)
        link.proxy.heal()
        await wait_state(link.gateway, [common_pb2.NODE_STATE_ONLINE], 15)
        document = await settled(link.gateway, document.run.id)
        assert state_of(document) is RunState.SUCCEEDED
        assert len(effects.read(trace)) == 1


async def test_resets_in_the_middle_lose_and_double_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with linked(tmp_path) as link:
        document = await start_run(link.gateway, NUMBERED, trace=str(trace), lines="400", pause="0.005")
        for _ in range(12):
            await asyncio.sleep(0.25)
            link.proxy.reset()
        document = await settled(link.gateway, document.run.id)
        assert state_of(document) is RunState.SUCCEEDED
        async for update in link.gateway.pipelines.watch_run(document.run.id):
            if update.ended:
                break
        (status,) = (await link.gateway.pipelines.get_run(document.run.id)).logs
        assert status.complete
        text = (await link.gateway.state.read_log(status.ref, offset=0, limit=1 << 20)).data.decode()
        assert effects.check_lines(text, 400, what="count") == []
        assert len(effects.read(trace)) == 1


async def test_a_second_session_fences_the_first_and_a_clone_is_quarantined(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        clone = tmp_path / "clone"
        shutil.copytree(agent.data_dir, clone, ignore=shutil.ignore_patterns("*.sock", "*.lock", "attempts"))
        twin = Agent("clone", [*agent.argv[:-1], str(clone)], agent.env, tmp_path / "clone.log", data_dir=clone)
        await twin.start(wait=False)
        try:
            await wait_state(gateway, [common_pb2.NODE_STATE_QUARANTINED], 30)
            status = await gateway.state.status()
            assert any("eu-1" in each.name + each.text for each in status.attention)
        finally:
            await twin.kill()


async def test_a_log_flood_on_a_slow_link_does_not_delay_the_heartbeat(tmp_path: Path) -> None:
    """20 MB/s of output over 1 Mbit/s: the node stays online and the log comes whole, or says what is missing."""
    flood = "pipeline: flood\nsteps:\n  - id: flood\n    run: yes 012345678901234567890123456789 | head -c 3000000\n"
    async with linked(tmp_path) as link:
        link.proxy.rate = {"up": 125_000.0}
        document = await start_run(link.gateway, flood)
        states = []
        for _ in range(20):
            await asyncio.sleep(0.25)
            states.append(await node_state(link.gateway))
        assert states.count(common_pb2.NODE_STATE_ONLINE) >= 19, states
        link.proxy.rate = {}
        document = await settled(link.gateway, document.run.id, seconds=60)
        assert state_of(document) is RunState.SUCCEEDED
        async for update in link.gateway.pipelines.watch_run(document.run.id):
            if update.ended:
                break
        (status,) = (await link.gateway.pipelines.get_run(document.run.id)).logs
        assert status.complete or status.holes
