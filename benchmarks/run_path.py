"""A real run of one process step, from the client's call to the end it is told: p50, and runs a second.

The same shape as `reference`: one node, the step is `/bin/true`. Everything is real: mTLS, the control socket with its
login, audit, events, tickets, the supervisor, limits and logs.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from gamenode_console.gateway import Gateway
from gamenode_proto.v1 import pipeline_management_pb2
from support.cluster import Cluster, running_cluster

PIPELINE = """
pipeline: bench-true
steps:
  - id: step
    shell: none
    run: ["/bin/true"]
"""
FINISHED = ("run.succeeded", "run.failed", "run.cancelled", "run.needs_attention")


class _Ends:
    """Who waits for which run; told by one event stream, as a console is."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._early: dict[str, str] = {}

    async def follow(self, gateway: Gateway, ready: asyncio.Event) -> None:
        status = await gateway.state.status()
        ready.set()
        async for batch in gateway.state.watch_events(after=status.cursor, follow=True, types=FINISHED):
            for event in batch.events:
                future = self._waiting.pop(event.run_id, None)
                if future is None:
                    self._early[event.run_id] = event.type
                else:
                    future.set_result(event.type)

    async def of(self, run_id: str) -> str:
        if run_id in self._early:
            return self._early.pop(run_id)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[run_id] = future
        return await future


async def _run(gateway: Gateway, ends: _Ends) -> None:
    request = pipeline_management_pb2.RunPipelineRequest(name="bench-true", all=True, request_id=os.urandom(8).hex())
    document = await gateway.pipelines.run(request)
    ended = await ends.of(document.run.id)
    assert ended == "run.succeeded", ended


async def measure_on(cluster: Cluster, *, runs: int, singles: int, at_once: int = 64) -> dict[str, float]:
    """`{"per_s": …, "p50_ms": …, "p99_ms": …}` on a running cluster with one node."""
    async with cluster.gateway() as gateway:
        await gateway.pipelines.apply([pipeline_management_pb2.PipelineSource(file="bench.yaml", text=PIPELINE)])
        ends = _Ends()
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(ends.follow(gateway, ready))
            await ready.wait()
            await asyncio.sleep(0.3)
            for _ in range(50):
                await _run(gateway, ends)
            times = []
            for _ in range(singles):
                start = time.perf_counter()
                await _run(gateway, ends)
                times.append(time.perf_counter() - start)
            limit = asyncio.Semaphore(at_once)

            async def one() -> None:
                async with limit:
                    await _run(gateway, ends)

            start = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(runs)))
            elapsed = time.perf_counter() - start
            follower.cancel()
        times.sort()
        return {
            "per_s": runs / elapsed,
            "p50_ms": times[len(times) // 2] * 1000,
            "p99_ms": times[int(len(times) * 0.99)] * 1000,
        }


async def measure(*, runs: int, singles: int) -> dict[str, float]:
    """The same on a cluster of its own, at real intervals."""
    with tempfile.TemporaryDirectory() as name:
        async with running_cluster(Path(name), agents=["bench"], real_intervals=True) as cluster:
            return await measure_on(cluster, runs=runs, singles=singles)
