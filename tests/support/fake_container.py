"""A container of the fake engine and a command in it: what they print and when they end, by `support.play`."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import itertools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from gamenode_agent.engines.containers import Container, ContainerEvent, ContainerSpec, LogLine, PortMapping
from support.play import PROGRAM, acts, octets

Say = Callable[["FakeContainer", str, int | None], None]
#: Above every process id there is, so that a signal to it reaches nobody.
NO_PID = 5_000_000
#: Signals that end a program which does nothing about them.
_FATAL = {"TERM": 143, "INT": 130, "QUIT": 131, "HUP": 129}


class FakeContainer:
    """One container: what the engine shows of it, its log, and the play it performs."""

    def __init__(self, spec: ContainerSpec, image_id: str, ports: tuple[PortMapping, ...], say: Say) -> None:
        self.id = secrets.token_hex(32)
        self.spec = spec
        self.ports = ports
        self.log: list[LogLine] = []
        self.files: set[str] = set()
        self.gone = False
        self.ends = 0
        self.last_end: Container | None = None
        self.eaten = self.forked = 0
        self._say = say
        self._ignores_term = False
        self._play: asyncio.Task[None] | None = None
        self._changes = asyncio.Event()
        self._stamps = itertools.count()
        self._input = b""
        self.shown = Container(
            id=self.id,
            name=spec.name,
            image=spec.image,
            state="created",
            image_id=image_id,
            labels=dict(spec.labels),
            created_at=time.time(),
            tty=spec.tty,
            memory_limit=spec.memory,
        )

    def start(self) -> None:
        if self.shown.running:
            return
        self.shown = dataclasses.replace(
            self.shown,
            state="running",
            pid=NO_PID + self.ends,
            exit_code=None,
            oom_killed=False,
            started_at=time.time(),
            finished_at=0.0,
            last_end=self.shown.finished_at,
            ports=self.ports,
            health="starting" if self.spec.healthcheck else "",
            address="" if self.spec.network in ("host", "none") else "172.17.0.2",
        )
        self._ignores_term = False
        self.eaten = self.forked = 0
        self._play = asyncio.get_running_loop().create_task(self._perform())
        self.changed()
        self._say(self, "start", None)

    def end(self, exit_code: int, *, oom: bool = False, quiet: bool = False) -> None:
        """It is over now, if it was running; `quiet`: the engine tells nobody."""
        if not self.shown.running:
            return
        if self._play is not None and self._play is not asyncio.current_task():
            self._play.cancel()
        self._play = None
        self.ends += 1
        self.shown = self.last_end = dataclasses.replace(
            self.shown,
            state="exited",
            pid=0,
            exit_code=exit_code,
            oom_killed=oom,
            finished_at=time.time(),
            last_end=0.0,
            ports=(),
        )
        self.changed()
        if not quiet:
            self._say(self, "die", exit_code)

    def signal(self, name: str) -> None:
        name = name.upper().removeprefix("SIG")
        if not self.shown.running:
            return
        self._say(self, "kill", None)
        if name in ("KILL", "9"):
            self.end(137)
        elif name in _FATAL and not (name == "TERM" and self._ignores_term):
            self.end(_FATAL[name])

    def print(self, data: bytes, stream: int = 1) -> None:
        now = time.time()
        stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.log.append(LogLine(f"{stamp}{next(self._stamps):09}Z", now, stream, data))
        self.changed()

    def event(self, action: str, exit_code: int | None) -> ContainerEvent:
        return ContainerEvent(self.id, action, time.time(), self.shown.name, self.shown.labels, exit_code)

    def hear(self, data: bytes) -> None:
        """Bytes on its standard input."""
        self._input += data
        self.changed()

    def changed(self) -> None:
        """Wakes everyone who waits for something to change."""
        self._changes.set()
        self._changes = asyncio.Event()

    async def next_change(self) -> None:
        await self._changes.wait()

    async def perform(
        self, command: Sequence[str], out: Callable[[bytes, int], None], env: Mapping[str, str] | None = None
    ) -> int:
        """Does what the command says and returns its exit code."""
        words = list(command)
        if words and words[0] in (PROGRAM, "play"):
            words = words[1:]
        for act in acts(words):
            match act.verb:
                case "print" | "err":
                    stream = 1 if act.verb == "print" else 2
                    lines = [f"{act.text} {n + 1}" for n in range(act.times)] if act.times else [act.text]
                    for number, line in enumerate(lines):
                        out(f"{line}\n".encode(), stream)
                        if number % 1000 == 999:
                            await asyncio.sleep(0)
                case "tick":
                    for number in range(act.times):
                        out(f"tick {number + 1}\n".encode(), 1)
                        await asyncio.sleep(float(act.text))
                case "long":
                    out(b"x" * int(act.text) + b"\n", 1)
                case "sleep":
                    await asyncio.sleep(float(act.text))
                case "exit":
                    return int(act.text)
                case "eat":
                    self.eaten += octets(act.text)
                    if self.spec.memory and self.eaten > self.spec.memory:
                        self._say(self, "oom", None)
                        return -9
                case "fork":
                    room = (self.spec.pids or 1 << 20) - 1
                    self.forked = min(int(act.text), room)
                    if self.forked < int(act.text):
                        out(b"play: can't fork: Resource temporarily unavailable\n", 2)
                        return 2
                    out(f"forked {act.text}\n".encode(), 1)
                case "ignore-term":
                    self._ignores_term = True
                case "env":
                    value = {**self.spec.env, **(env or {})}.get(act.text, "")
                    out(f"{act.text}={value}\n".encode(), 1)
                case "read":
                    while b"\n" not in self._input:
                        await self.next_change()
                    heard, _, self._input = self._input.partition(b"\n")
                    out(b"read: " + heard + b"\n", 1)
                case "touch":
                    self.files.add(act.text)
                case "need":
                    if act.text not in self.files:
                        return 1
        return 0

    async def _perform(self) -> None:
        command = (*(self.spec.entrypoint or ()), *(self.spec.command or ()))
        try:
            code = await self.perform(command, self.print)
        except ValueError as error:
            self.print(f"{error}\n".encode(), 2)
            code = 64
        self.end(137 if code == -9 else code, oom=code == -9)


class FakeExec:
    """A command in a running container. It ends with the container, or with the agent's signal to its pid."""

    def __init__(self, container: FakeContainer, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.id = secrets.token_hex(32)
        self.container = container
        self.command = command
        self.env = env
        self.output: list[tuple[int, bytes]] = []
        self.running = False
        self.exit_code: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._changes = asyncio.Event()

    def start(self) -> None:
        self.running = True
        self._task = asyncio.get_running_loop().create_task(self._perform())

    def end(self, exit_code: int) -> None:
        """It is over now, as by a signal from outside."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self.exit_code is None:
            self.running, self.exit_code = False, exit_code
            self._changes.set()

    async def next_change(self, up: asyncio.Event) -> None:
        """Waits for output, an end, or the engine going away (looked at ten times a second)."""
        self._changes.clear()
        while up.is_set() and not self._changes.is_set():
            try:
                async with asyncio.timeout(0.1):
                    await self._changes.wait()
            except TimeoutError:
                if not self.container.shown.running:
                    self.end(137)

    async def _perform(self) -> None:
        def out(data: bytes, stream: int) -> None:
            self.output.append((stream, data))
            self._changes.set()

        self.end(await self.container.perform(self.command, out, self.env))
