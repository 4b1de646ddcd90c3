"""What the programs cost at rest: memory and CPU of server, agent and supervisor, beside a bare grpc.aio process."""

from __future__ import annotations

import asyncio
import sys

import psutil

from support.cluster import Cluster

_BARE = "import grpc.aio, psutil, asyncio; print('ready', flush=True); asyncio.run(asyncio.sleep(60))"


def _sample(process: psutil.Process) -> tuple[float, float, float]:
    memory = process.memory_full_info()
    times = process.cpu_times()
    return memory.rss / 1e6, memory.pss / 1e6, times.user + times.system


async def measure(cluster: Cluster, *, seconds: float = 20.0) -> dict[str, dict[str, float]]:
    """`{program: {"rss_mb", "pss_mb", "cpu_percent"}}` over some idle seconds."""
    (agent, *_) = cluster.agents
    bare = await asyncio.create_subprocess_exec(sys.executable, "-c", _BARE, stdout=asyncio.subprocess.PIPE)
    assert bare.stdout is not None
    await bare.stdout.readline()
    supervisor = agent.supervisor_pid
    assert supervisor is not None
    processes = {
        "bare grpc.aio process": psutil.Process(bare.pid),
        "gamenode-server": psutil.Process(cluster.server.pid),
        "gamenode-agent": psutil.Process(agent.pid),
        "supervisor": psutil.Process(supervisor),
    }
    try:
        before = {name: _sample(process) for name, process in processes.items()}
        await asyncio.sleep(seconds)
        after = {name: _sample(process) for name, process in processes.items()}
    finally:
        bare.kill()
        await bare.communicate()
    return {
        name: {
            "rss_mb": after[name][0],
            "pss_mb": after[name][1],
            "cpu_percent": (after[name][2] - before[name][2]) / seconds * 100,
        }
        for name in processes
    }
