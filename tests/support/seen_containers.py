"""What Docker itself says of containers, whatever GameNode believes: those of a cluster, those of others, what runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import psutil

from gamenode_agent.engines.containers import CLUSTER, TASK
from support.docker_engine import DockerEngineProcess, with_client
from support.play import IMAGE, PROGRAM
from support.waiting import until

T = TypeVar("T")

#: The cluster that strangers' containers say they are of.
ANOTHER = "another-cluster"


@dataclass(frozen=True)
class SeenContainers:
    """One engine, looked at and meddled with from outside."""

    engine: DockerEngineProcess

    async def ask(self, use: Callable[[docker.APIClient], T]) -> T:
        """What `use` makes of a client."""
        return await asyncio.to_thread(with_client, self.engine.address, use)

    async def of_task(self, task_id: str) -> list[dict[str, Any]]:
        """As Docker inspects them: those that say they were made for this task, by nobody but our cluster."""

        def find(api: docker.APIClient) -> list[dict[str, Any]]:
            listed = api.containers(all=True, filters={"label": f"{TASK}={task_id}"})
            found = []
            for each in listed:
                with contextlib.suppress(docker.errors.NotFound):  # removed since it was listed
                    found.append(api.inspect_container(each["Id"]))
            return [each for each in found if each["Config"]["Labels"][CLUSTER] != ANOTHER]

        return await self.ask(find)

    async def of_task_running(self, task_id: str) -> dict[str, Any]:
        """The first container of a task, once it runs."""

        async def look() -> dict[str, Any] | None:
            return next((each for each in await self.of_task(task_id) if each["State"]["Running"]), None)

        found: dict[str, Any] = await until(look, seconds=60, what=f"a container of {task_id} to run")
        return found

    async def state(self, name: str) -> tuple[str, bool, str]:
        """Of a container by name: its id, whether it runs, when it was started last."""
        found = await self.ask(lambda api: api.inspect_container(name))
        return found["Id"], found["State"]["Running"], found["State"]["StartedAt"]

    async def stranger(self, name: str, labels: Mapping[str, str]) -> tuple[str, bool, str]:
        """A running container of another cluster, with labels like ours; its state."""

        def make(api: docker.APIClient) -> None:
            config = api.create_host_config(network_mode="none")
            theirs = {**labels, CLUSTER: ANOTHER}
            made = api.create_container(IMAGE, [PROGRAM, "sleep=3600"], name=name, labels=theirs, host_config=config)
            api.start(made["Id"])

        await self.ask(make)
        return await self.state(name)

    async def remove(self, container: str) -> None:
        """By hand."""
        await self.ask(lambda api: api.remove_container(container, force=True))

    async def processes(self, container: str) -> list[psutil.Process]:
        """What runs in it, as this host sees it; without what has ended since it was listed."""
        top = await self.ask(lambda api: api.top(container))
        column = top["Titles"].index("PID")
        found = []
        for row in top["Processes"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(row[column])))
        return found

    @asynccontextmanager
    async def killing_at(self, event: str, pid: int) -> AsyncIterator[None]:
        """Kills a process the moment Docker tells of an event of any container; it is dead when this is left."""
        watching = threading.Event()

        def watch(api: docker.APIClient) -> None:
            events = api.events(decode=True, filters={"type": "container", "event": event})
            watching.set()
            with contextlib.closing(events):
                next(iter(events))
                os.kill(pid, signal.SIGKILL)

        task = asyncio.ensure_future(self.ask(watch))
        await until(watching.is_set, what="Docker's events")
        yield
        await task


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of them that still run."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
