"""A container engine in memory: containers do what their command says in the words of `support.play`, in real time.

What can go wrong with a real one is scripted: `go_away`, `come_back`, `slow`, `fail_next`, `lose` (removed by hand),
`oom`, `emit`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from gamenode_agent.engines.containers import (
    Container,
    ContainerEvent,
    ContainerSpec,
    EngineInfo,
    ExecStatus,
    Image,
    LogLine,
    NotAsked,
    Progress,
    Usage,
)
from gamenode_pipelines.errors import Code, GameNodeError
from support.fake_container import NO_PID, FakeContainer, FakeExec
from support.play import IMAGE

Listener = Callable[[ContainerEvent | None], None]


class FakeEngine:
    """A ContainerEngine. It is available from the start; `run` only waits."""

    address = "fake://"

    def __init__(self, *images: str) -> None:
        self.available = True
        self.problem = ""
        self.info: EngineInfo | None = EngineInfo(
            "docker", "99.0", "1.99", "/fake", "memory", "2", networks=("bridge", "host", "none")
        )
        self.outages = 0
        #: It was told to stop: takes no new connections, and ends its containers.
        self.closing = False
        self.images: dict[str, Image] = {}
        #: What a registry would have; `pull` finds it here.
        self.registry: set[str] = set()
        #: Every call in order, by name, for tests of who asks what.
        self.calls: list[str] = []
        self.everything: dict[str, FakeContainer] = {}
        self.execs: dict[str, FakeExec] = {}
        self._listeners: list[Listener] = []
        self._up = asyncio.Event()
        self._up.set()
        self._delay = 0.0
        self._failures: dict[str, list[GameNodeError]] = {}
        self._next_port = 49152
        for reference in images or (IMAGE,):
            self.add_image(reference)

    # -- what a test scripts ------------------------------------------------------------------------------------------

    def add_image(self, reference: str) -> Image:
        """An image that is there."""
        image = Image(f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}", (_tagged(reference),))
        self.images[_tagged(reference)] = image
        return image

    def go_away(self, problem: str = "the fake engine is away", *, end: bool = False) -> None:
        """Every call fails from now on; with `end`, what ran is killed, as an engine without live-restore does."""
        self.available, self.problem = False, problem
        self.outages += 1
        self._up.clear()
        if end:
            for container in self.everything.values():
                container.end(137, quiet=True)
        self._tell(None)

    def come_back(self) -> None:
        """It answers again."""
        self.available, self.problem, self.closing = True, "", False
        self._up.set()
        self._tell(None)

    def slow(self, seconds: float) -> None:
        """Every call takes this long from now on."""
        self._delay = seconds

    def fail_next(
        self, call: str, code: Code, message: str = "scripted", kind: type[GameNodeError] = GameNodeError
    ) -> None:
        """The next call of this name fails; several are failed in turn."""
        self._failures.setdefault(call, []).append(kind(code, message))

    def lose(self, container: str) -> None:
        """Somebody removes it by hand."""
        found = self._get(container)
        found.end(137)
        del self.everything[found.id]
        found.gone = True
        found.changed()
        self._say(found, "destroy")

    def oom(self, container: str) -> None:
        """It takes more memory than it has."""
        found = self._get(container)
        self._say(found, "oom")
        found.end(137, oom=True)

    def finish(self, container: str, exit_code: int = 0) -> None:
        """It ends by itself."""
        self._get(container).end(exit_code)

    def health(self, container: str, state: str) -> None:
        """Its health becomes `healthy`, `unhealthy` or `starting`."""
        found = self._get(container)
        found.shown = dataclasses.replace(found.shown, health=state)
        found.changed()
        self._say(found, "health_status")

    def say(self, container: str, data: bytes, stream: int = 1) -> None:
        """It prints something."""
        self._get(container).print(data, stream)

    # -- the engine ---------------------------------------------------------------------------------------------------

    async def ready(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError:
            raise self._away() from None

    async def accepting(self) -> bool:
        return self.available and not self.closing

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def image(self, reference: str) -> Image | None:
        await self._enter("image")
        return self._image(reference)

    async def pull(self, reference: str, progress: Progress) -> Image:
        await self._enter("pull")
        if _tagged(reference) not in self.registry:
            raise GameNodeError(Code.IMAGE_MISSING, f"image {reference} cannot be pulled: no registry has it")
        progress(f"pulled {reference}")
        return self.add_image(reference)

    async def load(self, archive: Path, progress: Progress) -> Sequence[Image]:
        await self._enter("load")
        try:
            with tarfile.open(archive) as tar:
                manifest = tar.extractfile("manifest.json")
                tags = [tag for entry in json.load(manifest) for tag in entry["RepoTags"]] if manifest else []
        except (OSError, KeyError, tarfile.TarError) as error:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{archive} is no archive of images: {error}") from error
        for tag in tags:
            progress(f"Loaded image: {tag}")
        return [self.add_image(tag) for tag in tags]

    async def create(self, spec: ContainerSpec) -> str:
        await self._enter("create")
        image = self._image(spec.image)
        if image is None:
            raise GameNodeError(Code.IMAGE_MISSING, f"image {spec.image} is not on this node: pull or load it first")
        for other in self.everything.values():
            if other.shown.name == spec.name:
                raise GameNodeError(
                    Code.NAME_CONFLICT,
                    f"the name {spec.name} is taken by container {other.id[:12]}",
                    details={"holder": other.id},
                )
        ports = []
        for port in spec.ports:
            if not port.host_port:
                self._next_port += 1
                port = dataclasses.replace(port, host_port=self._next_port)
            ports.append(port)
        made = FakeContainer(spec, image.id, tuple(ports), self._say)
        self.everything[made.id] = made
        self._say(made, "create")
        return made.id

    async def start(self, container: str) -> None:
        await self._enter("start")
        found = self._get(container)
        taken = {(p.host_port, p.protocol) for c in self.everything.values() if c.shown.running for p in c.ports}
        for port in found.ports:
            if not found.shown.running and (port.host_port, port.protocol) in taken:
                raise GameNodeError(
                    Code.INSUFFICIENT_RESOURCES, f"port {port.host_port}/{port.protocol} of this node is taken"
                )
        found.start()

    async def inspect(self, container: str) -> Container | None:
        await self._enter("inspect")
        found = self._find(container)
        return found.shown if found else None

    async def containers(self) -> Sequence[Container]:
        await self._enter("containers")
        return [each.shown for each in self.everything.values()]

    async def wait(self, container: str) -> Container:
        await self.ready(3600.0)
        found = self._get(container)
        starts = found.ends
        while not found.gone and not found.shown.ended and found.ends == starts:
            await found.next_change()
            await self.ready(3600.0)
        if found.gone:
            raise _gone(container)
        return found.last_end or found.shown

    async def stop(self, container: str, *, signal: str, grace: float) -> Container:
        await self._enter("stop")
        found = self._get(container)
        found.signal(signal or found.spec.stop_signal or "TERM")
        try:
            async with asyncio.timeout(grace):
                while found.shown.running:
                    await found.next_change()
        except TimeoutError:
            found.signal("KILL")
        if found.gone:
            raise _gone(container)
        return found.shown

    async def kill(self, container: str, *, signal: str = "KILL") -> None:
        await self._enter("kill")
        self._get(container).signal(signal)

    async def write_stdin(self, container: str, data: bytes) -> None:
        await self._enter("write_stdin")
        found = self._get(container)
        if not found.shown.running or not found.spec.stdin_open:
            raise GameNodeError(Code.STATE_CONFLICT, f"container {found.shown.name} has no standard input")
        found.hear(data)

    async def restart(self, container: str, *, signal: str, grace: float) -> None:
        await self.stop(container, signal=signal, grace=grace)
        await self.start(container)

    async def remove(self, container: str, *, force: bool = False) -> None:
        await self._enter("remove")
        found = self._find(container)
        if found is None:
            return
        if found.shown.running and not force:
            raise GameNodeError(Code.STATE_CONFLICT, f"container {found.shown.name} runs: stop it first, or use force")
        self.lose(found.id)

    async def logs(
        self, container: str, *, after: str = "", since: float = 0.0, tail: int = -1, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        await self._enter("logs")
        found = self._get(container)
        at = len(found.log) - tail if 0 <= tail < len(found.log) else 0
        while True:
            while at < len(found.log):
                line = found.log[at]
                at += 1
                if line.mark > after and line.time >= since:
                    yield line
            if not follow or found.gone or found.shown.ended:
                return
            await found.next_change()
            await self.ready(3600.0)

    async def exec_create(
        self, container: str, command: Sequence[str], *, user: str = "", workdir: str = "", env: Mapping[str, str]
    ) -> str:
        await self._enter("exec_create")
        found = self._get(container)
        if not found.shown.running:
            raise GameNodeError(Code.STATE_CONFLICT, f"container {found.shown.name} is not running")
        made = FakeExec(found, command, env)
        self.execs[made.id] = made
        return made.id

    async def exec_start(self, exec_id: str) -> AsyncIterator[tuple[int, bytes]]:
        await self._enter("exec_start")
        made = self.execs[exec_id]
        made.start()
        at = 0
        while True:
            while at < len(made.output):
                yield made.output[at]
                at += 1
            if not self.available:
                raise self._away()
            if made.exit_code is not None:
                return
            await made.next_change(self._up)

    async def exec_inspect(self, exec_id: str) -> ExecStatus | None:
        await self._enter("exec_inspect")
        made = self.execs.get(exec_id)
        if made is None or made.container.gone:
            return None
        return ExecStatus(exec_id, made.running, NO_PID + 1000 if made.running else 0, made.exit_code)

    async def usage(self, containers: Sequence[Container]) -> Mapping[str, Usage]:
        await self._enter("usage")
        running = (self.everything.get(c.id) for c in containers)
        return {c.id: Usage(0.25, 1 << 20 | c.eaten, 1 + c.forked) for c in running if c and c.shown.running}

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        for container in self.everything.values():
            container.end(137, quiet=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _enter(self, call: str) -> None:
        self.calls.append(call)
        if self._delay:
            await asyncio.sleep(self._delay)
        if not self.available:
            raise self._away()
        if failures := self._failures.get(call):
            raise failures.pop(0)

    def _away(self) -> GameNodeError:
        return NotAsked(Code.ENGINE_UNAVAILABLE, self.problem)

    def _image(self, reference: str) -> Image | None:
        found = self.images.get(_tagged(reference))
        return found or next((i for i in self.images.values() if i.id.endswith(reference) or i.id == reference), None)

    def _find(self, container: str) -> FakeContainer | None:
        for each in self.everything.values():
            if container in (each.id, each.shown.name) or (len(container) >= 12 and each.id.startswith(container)):
                return each
        return None

    def _get(self, container: str) -> FakeContainer:
        found = self._find(container)
        if found is None:
            raise _gone(container)
        return found

    def _say(self, container: FakeContainer, action: str, exit_code: int | None = None) -> None:
        self._tell(container.event(action, exit_code))

    def _tell(self, event: ContainerEvent | None) -> None:
        if event is not None and not self.available:
            return
        for listener in tuple(self._listeners):
            listener(event)


def _gone(container: str) -> GameNodeError:
    return GameNodeError(Code.CONTAINER_GONE, f"there is no container {container}: somebody removed it")


def _tagged(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] or "@" in reference else f"{reference}:latest"
