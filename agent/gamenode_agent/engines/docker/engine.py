"""The engine's seam, kept by Docker. Each method here is a call, or the order of a few; how is in the other modules."""

# ruff: noqa: D102 - what each method does is the seam's to say

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gamenode_agent.engines.containers import (
    Container,
    ContainerEvent,
    ContainerSpec,
    EngineInfo,
    ExecStatus,
    HalfStarted,
    Image,
    LogLine,
    Progress,
    Usage,
)
from gamenode_agent.engines.docker.calls import Calls
from gamenode_agent.engines.docker.creation import creation
from gamenode_agent.engines.docker.errors import gone, image_missing
from gamenode_agent.engines.docker.execs import ExecSource
from gamenode_agent.engines.docker.feeds import Feed
from gamenode_agent.engines.docker.ghosts import end_ghosts
from gamenode_agent.engines.docker.logs import Logs
from gamenode_agent.engines.docker.reading import inspected, listed
from gamenode_agent.engines.docker.threads import Workers
from gamenode_agent.engines.docker.transfers import Transfers
from gamenode_agent.engines.docker.usage import ControlGroups
from gamenode_agent.engines.docker.watch import Watch
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock, SystemClock

#: Calls at once.
THREADS = 24
#: Seconds a container may take to be gone after SIGKILL.
DEATH = 30.0

#: The exit code of what was ended by SIGKILL.
KILLED = 137
#: How much later than the end the note may come that memory was short, seconds.
OOM_NOTE = 0.5


class DockerEngine:
    """A ContainerEngine. Made on the loop it lives on; `run` finds the engine."""

    def __init__(
        self,
        address: str = "",
        *,
        retry: float = 1.0,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._workers = Workers(THREADS, "docker")
        self._watch = Watch(address, dict(environ), self._workers, retry=retry)
        self._calls = Calls(self._watch, self._workers)
        self._logs = Logs(self._watch, self._calls, self._inspect_whenever)
        self._transfers = Transfers(self._watch, self._calls, clock or SystemClock())
        self._groups = ControlGroups()
        self._pids: dict[str, int] = {}

    @property
    def address(self) -> str:
        return self._watch.address

    @property
    def available(self) -> bool:
        return self._watch.available

    @property
    def problem(self) -> str:
        return self._watch.problem

    @property
    def info(self) -> EngineInfo | None:
        return self._watch.info

    @property
    def outages(self) -> int:
        return self._watch.outages

    async def ready(self, within: float) -> None:
        await self._watch.ready(within)

    async def accepting(self) -> bool:
        return await self._workers.submit(self._watch.knock)

    def subscribe(self, listener: Callable[[ContainerEvent | None], None]) -> Callable[[], None]:
        return self._watch.subscribe(listener)

    async def image(self, reference: str) -> Image | None:
        said = await self._maybe(lambda api: api.inspect_image(reference), Code.IMAGE_MISSING, reference)
        if said is None:
            return None
        return Image(said["Id"], tuple(said.get("RepoTags") or ()), tuple(said.get("RepoDigests") or ()))

    async def pull(self, reference: str, progress: Progress) -> Image:
        await self._transfers.pull(reference, progress)
        return await self._present(reference)

    async def load(self, archive: Path, progress: Progress) -> Sequence[Image]:
        return [await self._present(name) for name in await self._transfers.load(archive, progress)]

    async def _present(self, reference: str) -> Image:
        found = await self.image(reference)
        if found is None:
            raise image_missing(reference)
        return found

    async def create(self, spec: ContainerSpec) -> str:
        body = creation(spec)
        try:
            said = await self._calls.change(
                lambda api: api.create_container_from_config(body, spec.name), doing="create", subject=spec.name
            )
        except GameNodeError as error:
            if error.code is Code.IMAGE_MISSING:
                raise image_missing(spec.image) from error
            raise
        return str(said["Id"])

    async def start(self, container: str) -> None:
        try:
            await self._calls.change(lambda api: api.start(container), doing="start", subject=container)
        except HalfStarted:
            await self._workers.submit(lambda: end_ghosts(container))
            raise

    async def inspect(self, container: str) -> Container | None:
        said = await self._maybe(lambda api: api.inspect_container(container), Code.CONTAINER_GONE, container)
        return inspected(said) if said is not None else None

    async def _inspect_whenever(self, container: str) -> Container | None:
        while True:
            await self._watch.back()
            try:
                return await self.inspect(container)
            except GameNodeError as error:
                if error.code is not Code.ENGINE_UNAVAILABLE:
                    raise
                await self._watch.settled()

    async def containers(self) -> Sequence[Container]:
        said = await self._calls.ask(lambda api: api.containers(all=True), doing="list containers")
        return [listed(each) for each in said]

    async def wait(self, container: str) -> Container:
        shown = await self._inspect_whenever(container)
        if shown is None:
            raise gone(container)
        stirred = asyncio.Event()
        deaths: list[ContainerEvent] = []

        def heard(event: ContainerEvent | None) -> None:
            if event is None or event.id == found:
                stirred.set()
            if event is not None and event.id == found and event.action == "die":
                deaths.append(event)

        found = shown.id
        end = self._watch.subscribe(heard)
        try:
            while True:
                shown = await self._inspect_whenever(found)
                if shown is None:
                    raise gone(container)
                if shown.ended:
                    return await self._judged(shown)
                if deaths and deaths[-1].time < shown.started_at:
                    # It runs again already; it did end.
                    died = deaths[-1]
                    return dataclasses.replace(
                        shown, state="exited", pid=0, exit_code=died.exit_code, finished_at=died.time
                    )
                await stirred.wait()
                stirred.clear()
        finally:
            end()

    async def _judged(self, ended: Container) -> Container:
        """An engine may note only after the end that it came for want of memory: it is given a moment."""
        if ended.exit_code != KILLED or not ended.memory_limit or ended.oom_killed:
            return ended
        await self._watch.stirred(ended.id, within=OOM_NOTE)
        return await self._inspect_whenever(ended.id) or ended

    async def stop(self, container: str, *, signal: str, grace: float) -> Container:
        # Not the engine's own stop: it takes no signal in older engines, and would hold a thread for the grace time.
        said = await self._calls.ask(lambda api: api.inspect_container(container), doing="find", subject=container)
        shown = inspected(said)
        if not shown.running:
            return shown
        await self.kill(shown.id, signal=signal or said["Config"].get("StopSignal") or "TERM")
        try:
            async with asyncio.timeout(grace):
                return await self.wait(shown.id)
        except TimeoutError:
            await self.kill(shown.id)
        try:
            async with asyncio.timeout(DEATH):
                return await self.wait(shown.id)
        except TimeoutError:
            raise GameNodeError(
                Code.TIMEOUT, f"container {shown.name} has not ended {DEATH:.0f} s after SIGKILL"
            ) from None

    async def kill(self, container: str, *, signal: str = "KILL") -> None:
        try:
            await self._calls.change(lambda api: api.kill(container, signal), doing="kill", subject=container)
        except GameNodeError as error:
            if error.code is not Code.STATE_CONFLICT:
                raise

    async def restart(self, container: str, *, signal: str, grace: float) -> None:
        await self.stop(container, signal=signal, grace=grace)
        await self.start(container)

    async def remove(self, container: str, *, force: bool = False) -> None:
        if force:  # it would kill what it knows of; this kills the same, and what it does not know of
            await self._workers.submit(lambda: end_ghosts(container))
        try:
            await self._calls.change(
                lambda api: api.remove_container(container, v=True, force=force), doing="remove", subject=container
            )
        except GameNodeError as error:
            if error.code is Code.CONTAINER_GONE:
                return
            if error.code is not Code.STATE_CONFLICT or "already in progress" not in error.message:
                raise
            await self._gone(container)

    async def _gone(self, container: str) -> None:
        """Somebody else removes it: waits until it has been."""
        try:
            async with asyncio.timeout(DEATH):
                while (shown := await self.inspect(container)) is not None:
                    await self._watch.stirred(shown.id, within=0.2)
        except TimeoutError:
            raise GameNodeError(
                Code.TIMEOUT, f"container {container} is being removed and was still there after {DEATH:.0f} s"
            ) from None

    def logs(
        self, container: str, *, after: str = "", since: float = 0.0, tail: int = -1, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        return self._logs.lines(container, after=after, begin=since, tail=tail, follow=follow)

    async def write_stdin(self, container: str, data: bytes) -> None:
        await self._calls.change(lambda api: _write(api, container, data), doing="write to", subject=container)

    async def exec_create(
        self, container: str, command: Sequence[str], *, user: str = "", workdir: str = "", env: Mapping[str, str]
    ) -> str:
        said = await self._calls.change(
            lambda api: api.exec_create(
                container, list(command), user=user, workdir=workdir or None, environment=dict(env)
            ),
            doing="exec",
            subject=container,
        )
        return str(said["Id"])

    async def exec_start(self, exec_id: str) -> AsyncGenerator[tuple[int, bytes], None]:
        api = self._watch.api()
        try:
            async with Feed(ExecSource(api, exec_id), lambda p: len(p[1]), name=f"docker-exec-{exec_id[:12]}") as feed:
                while batch := await feed.get():
                    for piece in batch:
                        yield piece
        except GameNodeError:
            raise
        except Exception as error:
            raise self._calls.known(error, api, doing="exec", subject=exec_id[:12]) from error

    async def exec_inspect(self, exec_id: str) -> ExecStatus | None:
        said = await self._maybe(lambda api: api.exec_inspect(exec_id), Code.CONTAINER_GONE, exec_id)
        if said is None:
            return None
        running = bool(said["Running"])
        return ExecStatus(exec_id, running, int(said.get("Pid") or 0) if running else 0, said.get("ExitCode"))

    async def usage(self, containers: Sequence[Container]) -> Mapping[str, Usage]:
        running = {each.id: each.pid or self._pids.get(each.id, 0) for each in containers if each.running}
        for unknown in [found for found, pid in running.items() if not pid]:
            shown = await self.inspect(unknown)
            running[unknown] = shown.pid if shown is not None else 0
        found = await self._workers.submit(lambda: self._groups.usage(running))
        # What was read is known by its process next time; what was not is asked for again.
        self._pids = {each: pid for each, pid in running.items() if each in found}
        return found

    async def run(self) -> None:
        await self._watch.run()

    async def close(self) -> None:
        self._watch.close()
        self._workers.close()

    async def _maybe(self, call: Callable[[Any], Any], missing: Code, subject: str) -> Any:
        """The answer, None where the engine has no such thing."""
        try:
            return await self._calls.ask(
                call, doing="find image" if missing is Code.IMAGE_MISSING else "find", subject=subject
            )
        except GameNodeError as error:
            if error.code is missing:
                return None
            raise


def _write(api: Any, container: str, data: bytes) -> None:
    said = api.inspect_container(container)
    if not said["State"]["Running"] or not said["Config"]["OpenStdin"]:
        raise GameNodeError(Code.STATE_CONFLICT, f"container {container} is not running, or has no standard input")
    # Without an upgrade the answer stays open and is ours alone; with one, the line would go back to the others.
    answer = api.post(
        api._url("/containers/{0}/attach", container),
        params={"stdin": 1, "stream": 1},
        stream=True,
        timeout=api.timeout,
    )
    try:
        api._raise_for_status(answer)
        api._get_raw_response_socket(answer)._sock.sendall(data)
    finally:
        answer.close()
