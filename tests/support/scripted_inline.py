"""Inline steps that do what a test says, and an agent's executor around them that can end and begin again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gamenode_agent.clock import BootClock
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.engines.inline_executor import InlineExecutor
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptReport
from gamenode_pipelines.plan import StopPolicy
from support.waiting import until

KEY = Attempt("task", 1, "a", 1)


@dataclass
class Scripted:
    """Runs until `go` is set, then brings `brings`; ends as soon as `gone` is set, which it is unless cleared."""

    brings: Result | Exception = field(default_factory=Result)
    #: What `end` raises, one each call, until there are none left.
    cannot_end: list[Exception] = field(default_factory=list)
    exit_code: int | None = None
    #: Called at the beginning of `run`.
    does: Callable[[Handle], None] = lambda _handle: None
    happened: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    handle: Handle | None = None
    stop: Stop | None = None

    def __post_init__(self) -> None:
        self.gone.set()

    async def run(self, attempt: Handle) -> Result:
        self.handle = attempt
        self.happened.append("run again" if attempt.resumed else "run")
        self.does(attempt)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.happened.append("cancelled")
            raise
        if isinstance(self.brings, Exception):
            raise self.brings
        return self.brings

    async def end(self, attempt: Handle, stop: Stop) -> int | None:
        self.handle, self.stop = attempt, stop
        self.happened.append("end by force" if stop.force else "end")
        if self.cannot_end:
            raise self.cannot_end.pop(0)
        await self.gone.wait()
        return self.exit_code


class _AgentEnds(Exception):
    pass


@dataclass
class PlayedAgent:
    """One life of an agent."""

    executor: InlineExecutor
    clock: BootClock
    directory: Path
    ended: list[AttemptReport]
    grown: list[int]

    def request(self, step: Scripted, *, timeout: float = 0.0, log_limit: int = 0) -> InlineRequest:
        return InlineRequest(
            KEY, str(self.directory), step, timeout=timeout, stop=StopPolicy(grace=3.0), log_limit=log_limit
        )

    def start(
        self, step: Scripted, *, timeout: float = 0.0, log_limit: int = 0, resumed: bool = False
    ) -> AttemptReport:
        return self.executor.start(self.request(step, timeout=timeout, log_limit=log_limit), resumed=resumed)

    def found(self) -> AttemptReport | None:
        return self.executor.report(KEY, str(self.directory))

    async def begun(self, step: Scripted) -> None:
        await until(lambda: step.happened, every=0.001, what="the step to begin")

    async def end(self) -> AttemptReport:
        """How the attempt ended, once it has."""
        await until(lambda: self.ended, every=0.001, what="the end")
        (report,) = self.ended
        return report


@asynccontextmanager
async def played_agent(
    directory: Path, *, boot_id: str = "boot", clock: BootClock | None = None
) -> AsyncIterator[PlayedAgent]:
    """An agent that ends, as agents do, by cancelling whatever goes on."""
    directory.mkdir(exist_ok=True)
    clock = clock or BootClock.from_wall()
    ended: list[AttemptReport] = []
    grown: list[int] = []
    try:
        async with asyncio.TaskGroup() as group:
            executor = InlineExecutor(
                group=group,
                clock=clock,
                boot_id=boot_id,
                on_ended=ended.append,
                on_output=lambda _key, size: grown.append(size),
            )
            yield PlayedAgent(executor, clock, directory, ended, grown)
            raise _AgentEnds
    except* _AgentEnds:
        executor.close()
