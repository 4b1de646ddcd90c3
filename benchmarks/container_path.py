"""What a container step costs beyond the engine: the same work by plain docker-py and by a step, by turns.

A job (make, start, wait for the end, read the log, remove) and a start (make and start). The step's time is from its
`StepStarted` to its `StepEnded`, in the agent's own events: what the run around it costs is in `run_path`.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable

import docker

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from support.cluster import Cluster, settled, start_run, state_of
from support.docker_engine import with_client
from support.play import IMAGE

JOB = f"""
pipeline: bench-job
steps:
  - id: step
    uses: container.job
    with: {{image: "{IMAGE}", command: ["/bin/busybox", "true"], network: none}}
"""
RUN = f"""
pipeline: bench-run
params: {{name: {{type: string}}}}
steps:
  - id: step
    uses: container.run
    with: {{name: "${{{{ params.name }}}}", image: "{IMAGE}", command: ["/bin/busybox", "sleep", "60"], network: none}}
finally:
  - id: clean
    uses: container.remove
    with: {{name: "${{{{ params.name }}}}", force: true}}
"""
_numbers = itertools.count()


def _plain_job(api: docker.APIClient) -> float:
    config = api.create_host_config(network_mode="none")
    start = time.perf_counter()
    made = api.create_container(IMAGE, ["/bin/busybox", "true"], host_config=config)
    api.start(made["Id"])
    api.wait(made["Id"])
    api.logs(made["Id"])
    api.remove_container(made["Id"])
    return time.perf_counter() - start


def _plain_start(api: docker.APIClient) -> float:
    config = api.create_host_config(network_mode="none")
    name = f"bench-plain-{next(_numbers)}"
    start = time.perf_counter()
    made = api.create_container(IMAGE, ["/bin/busybox", "sleep", "60"], host_config=config, name=name)
    api.start(made["Id"])
    elapsed = time.perf_counter() - start
    api.remove_container(made["Id"], force=True)
    return elapsed


async def _step(gateway: Gateway, text: str, **params: str) -> float:
    document = await settled(gateway, (await start_run(gateway, text, **params)).run.id, seconds=60)
    assert state_of(document) is RunState.SUCCEEDED, document
    step = next(step for step in document.tasks[0].steps if step.id == "step")
    return step.finished_at - step.started_at


async def measure_on(cluster: Cluster, address: str, *, rounds: int) -> dict[str, dict[str, float]]:
    """`{"job": {"plain_ms": …, "step_ms": …, "added_ms": …}, "start": …}`, medians; one node, on this engine."""
    plain: dict[str, list[float]] = {"job": [], "start": []}
    steps: dict[str, list[float]] = {"job": [], "start": []}
    runners: dict[str, Callable[[docker.APIClient], float]] = {"job": _plain_job, "start": _plain_start}

    def run_plain(kind: str) -> float:
        return with_client(address, lambda api: runners[kind](api) and runners[kind](api))  # the second: connected

    async with cluster.gateway() as gateway:
        for number in range(rounds + 3):
            for kind in plain:
                alone = await asyncio.to_thread(run_plain, kind)
                params = {"name": f"bench-step-{number}"} if kind == "start" else {}
                through = await _step(gateway, JOB if kind == "job" else RUN, **params)
                if number >= 3:  # what is warm from there on is warm for both
                    plain[kind].append(alone)
                    steps[kind].append(through)
    return {
        kind: {
            "plain_ms": statistics.median(plain[kind]) * 1000,
            "step_ms": statistics.median(steps[kind]) * 1000,
            "added_ms": (statistics.median(steps[kind]) - statistics.median(plain[kind])) * 1000,
        }
        for kind in plain
    }
