"""Ending what a cluster is made of, without a word: servers, agents, supervisors, and the container engine below."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

from support.cluster import Agent, Cluster

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess

#: Longest time that something stays away, seconds.
AWAY = 0.5


async def kill_program(cluster: Cluster, what: str, dice: random.Random) -> None:
    """Kills `server`, an `agent` or a `supervisor` and starts it again; an agent starts its supervisor by itself."""
    if what == "server":
        await cluster.server.kill()
        await asyncio.sleep(dice.uniform(0, AWAY))
        await cluster.server.start()
        return
    agent: Agent = dice.choice(cluster.agents)
    if what == "agent":
        await agent.kill()
        await asyncio.sleep(dice.uniform(0, AWAY))
        await agent.start()
        return
    pid = agent.supervisor_pid
    assert pid is not None, "an agent without a supervisor"
    os.kill(pid, 9)


async def end_engine(engine: DockerEngineProcess, dice: random.Random, *, kill: bool, live_restore: bool) -> None:
    """Stops the engine, or kills it, and starts it again."""
    await asyncio.to_thread(engine.kill if kill else engine.stop)
    await asyncio.sleep(dice.uniform(0, AWAY))
    await asyncio.to_thread(lambda: engine.start(live_restore=live_restore))
