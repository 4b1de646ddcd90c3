"""Starts pipelines when they are due. One loop; each start happens once, however often the server was killed.

A start that is due is kept before it is tried, and its run is asked for with an id made of its time: a second try finds
the first one's run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_pipelines.schedules import Progress, Schedule, begin, decide
from gamenode_proto.process.clock import Clock
from gamenode_server.controller.compiler import Compiler
from gamenode_server.records import PipelineVersion
from gamenode_server.schedules import progress
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

R = TypeVar("R")
#: What keeps a start waiting rather than making it fail.
_PASSING = frozenset({Code.STORAGE_FULL, Code.DISCONNECTED, Code.TIMEOUT})
#: Error messages are kept with a schedule up to this length.
_LONGEST = 500


class Applier(Protocol):
    """The store, as far as it is needed here."""

    async def apply(self, op: Callable[[Tx], R]) -> R:
        """Runs an operation and returns its result once it is durable."""
        ...


class Starter(Protocol):
    """Starts and ends the runs of schedules."""

    async def start(self, pipeline: str, params: Mapping[str, str], *, by: str, request_id: str, note: str) -> str:
        """Starts a run once for every request id; its id."""
        ...

    async def cancel(self, run_id: str, *, by: str, reason: str) -> None:
        """Asks a run to end."""
        ...

    def goes_on(self, run_id: str) -> bool:
        """Whether a run has not ended."""
        ...


@dataclass(slots=True)
class Entry:
    """A schedule of a stored pipeline. `due`: nothing is to be done before this time, unless a start waits."""

    pipeline: str
    schedule: Schedule
    progress: Progress
    due: float = 0.0
    #: The run that was asked to end already, to make room.
    cancelled: str = ""

    @property
    def name(self) -> str:
        """What it is called: `PIPELINE/ID`."""
        return f"{self.pipeline}/{self.schedule.id}"


@dataclass(slots=True)
class _Known:
    version: int
    entries: list[Entry] = field(default_factory=list)


class Scheduler:
    """`run` it for as long as the server serves."""

    def __init__(
        self,
        *,
        store: Applier,
        pipelines: Callable[[], Mapping[str, PipelineVersion]],
        compiler: Compiler,
        starter: Starter,
        clock: Clock,
        tick: float,
    ) -> None:
        self._store = store
        self._pipelines = pipelines
        self._compiler = compiler
        self._starter = starter
        self._clock = clock
        self._tick = tick
        self._known: dict[str, _Known] = {}
        #: Held while entries are replaced: by what was read before a change, the change would be lost.
        self._reading = asyncio.Lock()

    def entries(self) -> list[Entry]:
        """Every schedule, by name."""
        return sorted((each for known in self._known.values() for each in known.entries), key=lambda each: each.name)

    def failed(self) -> dict[str, tuple[float, str]]:
        """Those whose last start made no run, with its time and why; not those that start nothing now."""
        return {
            each.name: (each.progress.last_time, each.progress.last_error)
            for each in self.entries()
            if each.progress.last_error and each.schedule.enabled and not each.progress.paused_by
        }

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self._safely(self.look)
            await asyncio.sleep(self._tick)

    async def look(self) -> None:
        """One round: takes over what was stored, and starts what is due."""
        await self.sync()
        now = self._clock.now()
        for entry in self.entries():
            if now >= entry.due or entry.progress.waiting:
                await self._safely(partial(self._attend, entry, now))

    async def _safely(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except GameNodeError as error:
            logger.warning("schedules are looked at again soon: %s", error.message)
        except Exception:
            # One schedule that is at fault must not hold up the others.
            logger.exception("schedules are looked at again soon")

    async def sync(self) -> None:
        """Reads the schedules of pipelines that are new or have changed, and forgets those that are gone."""
        async with self._reading:
            await self._sync()

    async def _sync(self) -> None:
        stored = self._pipelines()
        for name in set(self._known) - set(stored):
            del self._known[name]
        changed = [
            version
            for name, version in stored.items()
            if (known := self._known.get(name)) is None or known.version != version.version
        ]
        for version in changed:
            self._known[version.name] = _Known(version.version, await self._read(version))

    async def _read(self, version: PipelineVersion) -> list[Entry]:
        if version.removed:
            return []
        try:
            (loaded,) = await self._compiler.load(version.text, version.name)
        except InvalidPipeline as error:
            logger.warning("the schedules of pipeline %s cannot be read: %s", version.name, error)
            return []
        schedules = [each.schedule for each in loaded.spec.schedule]
        names = [f"{version.name}/{schedule.id}" for schedule in schedules]
        kept = await self._store.apply(progress.load(version, names)) if names else {}
        now = self._clock.now()
        entries = []
        for name, schedule in zip(names, schedules, strict=True):
            begun = begin(schedule, now, kept.get(name))
            if begun is not kept.get(name):
                await self._store.apply(partial(progress.keep, name=name, progress=begun))
            entries.append(Entry(version.name, schedule, begun))
        return entries

    async def _attend(self, entry: Entry, now: float) -> None:
        running = bool(entry.progress.last_run) and self._starter.goes_on(entry.progress.last_run)
        # Of a schedule that is far behind there are many times to find.
        before = entry.progress
        decision = await asyncio.to_thread(decide, entry.schedule, before, now, running=running)
        if entry.progress is not before:  # paused meanwhile, or let go on: the next look is at that
            return
        if decision.progress.waiting != entry.progress.waiting or decision.missed or decision.skipped:
            entry.progress = await self._store.apply(progress.looked(entry.name, decision))
        else:
            entry.progress = replace(entry.progress, since=decision.progress.since)
        entry.due = entry.schedule.next(now) or float("inf")
        if decision.cancel and entry.cancelled != entry.progress.last_run:
            old, reason = entry.progress.last_run, "its schedule starts it anew"
            await self._starter.cancel(old, by=progress.ACTOR + entry.name, reason=reason)
            entry.cancelled = old
        elif entry.progress.waiting and not running:
            await self._start(entry, entry.progress.waiting[0])

    async def _start(self, entry: Entry, time: float) -> None:
        run_id = error = ""
        try:
            run_id = await self._starter.start(
                entry.pipeline,
                entry.schedule.params,
                by=progress.ACTOR + entry.name,
                request_id=f"{time:.0f}",
                note=f"schedule {entry.schedule.id}",
            )
        except GameNodeError as refused:
            if refused.code in _PASSING:
                raise
            error = f"{refused.code}: {refused.message}"[:_LONGEST]
            logger.warning("schedule %s could not start its run: %s", entry.name, error)
        entry.progress = await self._store.apply(progress.started(entry.name, time, run_id=run_id, error=error))

    async def set_paused(self, op: Callable[[Tx], dict[str, Progress]]) -> None:
        """Carries out `progress.set_paused`, and goes on from what it has made."""
        async with self._reading:
            changed = await self._store.apply(op)
            for entry in self.entries():
                if entry.name in changed:
                    entry.progress = changed[entry.name]
                    entry.due = 0.0
