"""Starts pipelines when what they wait for happens. One loop; each event starts each trigger once, whatever is killed.

An event is looked at before it is noted as done with, and its run is asked for with an id made of its cursor: a second
look finds the first one's run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from gamenode_pipelines import expressions
from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_pipelines.runs import Run
from gamenode_pipelines.triggers import LONGEST_CHAIN, OF_NODES, ROOTS, Trigger
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1 import work_pb2
from gamenode_server.controller.compiler import Compiler
from gamenode_server.hub import EventFilter
from gamenode_server.notifiers.messages import document
from gamenode_server.records import NewEvent, PipelineVersion
from gamenode_server.store import queries
from gamenode_server.store.store import Store
from gamenode_server.triggers import kept
from gamenode_server.triggers.kept import Kept

logger = logging.getLogger(__name__)

R = TypeVar("R")
#: Begins the names of those who start these runs.
ACTOR = "trigger:"
#: What keeps an event waiting rather than making its start fail.
_PASSING = frozenset({Code.STORAGE_FULL, Code.DISCONNECTED, Code.TIMEOUT})
_LONGEST = 500


class Starter(Protocol):
    """Starts the runs of triggers."""

    async def start(
        self,
        pipeline: str,
        params: Mapping[str, str],
        *,
        node: str,
        by: str,
        request_id: str,
        note: str,
        chain: tuple[str, ...],
    ) -> str:
        """Starts a run once for every request id, on the node where one is given; its id."""
        ...


@dataclass(frozen=True, slots=True)
class _Pipeline:
    version: PipelineVersion
    triggers: tuple[Trigger, ...]
    has_targets: bool


class Triggering:
    """`run` it for as long as the server serves."""

    def __init__(
        self,
        *,
        store: Store,
        newest: Callable[[], int],
        compiler: Compiler,
        starter: Starter,
        clock: Clock,
        tick: float,
    ) -> None:
        self._store = store
        self._newest = newest
        self._compiler = compiler
        self._starter = starter
        self._clock = clock
        self._tick = tick
        self._pipelines: dict[str, _Pipeline] = {}
        self._kept: Kept | None = None

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            try:
                await self.look()
            except GameNodeError as error:
                logger.warning("triggers are looked at again soon: %s", error.message)
            except Exception:
                # One event that is at fault must not end the watch over all others.
                logger.exception("triggers are looked at again soon")
            await asyncio.sleep(self._tick)

    async def look(self) -> None:
        """One round: everything that has happened since the last one."""
        if self._kept is None:
            self._kept = await self._store.apply(kept.load(self._newest()))
        # What comes from here on may be for a pipeline that is not known yet: it is for the next round.
        end = self._newest()
        await self._sync()
        types = tuple(sorted({trigger.event for each in self._pipelines.values() for trigger in each.triggers}))
        while types and self._kept.cursor < end:
            page = await self._store.read(
                queries.list_events, after=self._kept.cursor, only=EventFilter(types=types), limit=100
            )
            for event in page.events:
                if event.cursor <= end:
                    await self._attend(event)
            if self._kept.cursor < (cursor := min(page.cursor, end)):
                self._kept = await self._store.apply(kept.keep(replace(self._kept, cursor=cursor), []))

    def failed(self) -> dict[str, tuple[float, str]]:
        """The pipelines whose last start made no run, with its time and why; not those that were changed since."""
        found = self._kept.failed if self._kept is not None else {}
        return {
            name: (at, why)
            for name, (at, why) in found.items()
            if (known := self._pipelines.get(name)) is not None and known.triggers and known.version.created_at <= at
        }

    async def _sync(self) -> None:
        stored = self._store.view.pipelines
        for name in set(self._pipelines) - set(stored):
            del self._pipelines[name]
        for name, version in list(stored.items()):
            known = self._pipelines.get(name)
            if known is None or known.version.version != version.version:
                self._pipelines[name] = await self._read(version)

    async def _read(self, version: PipelineVersion) -> _Pipeline:
        if version.removed:
            return _Pipeline(version, (), False)
        try:
            (loaded,) = await self._compiler.load(version.text, version.name)
        except InvalidPipeline as error:
            logger.warning("the triggers of pipeline %s cannot be read: %s", version.name, error)
            return _Pipeline(version, (), False)
        triggers = tuple(each.trigger for each in loaded.spec.on)
        return _Pipeline(version, triggers, loaded.spec.targets is not None)

    async def _attend(self, event: work_pb2.Event) -> None:
        assert self._kept is not None
        node = self._store.view.node(event.node_id) if event.node_id else None
        run = await self._run_of(event)
        labels = dict(node.labels) if node is not None else None
        whose = run.pipeline if run is not None else ""
        now, until, told = self._clock.now(), dict(self._kept.until), []
        failed = dict(self._kept.failed)
        for pipeline, number, trigger in self._listening(event):
            if not trigger.takes(event.type, pipeline=whose, labels=labels):
                continue
            name = pipeline.version.name
            key = f"{name}/{number}/{event.node_id or whose}"
            if until.get(key, 0.0) > now:
                reason = {"reason": f"its cooldown of {trigger.cooldown:g} s"}
                told.append(_news("trigger.held_back", name, event, reason))
                continue
            until[key] = now + trigger.cooldown
            facts = document(event, id="", node=node, run=run)
            news = await self._start(pipeline, number, trigger, event, facts, run)
            told.append(news)
            failed.pop(name, None)
            if not news.run_id:
                failed[name] = (now, news.data.get("error") or news.data["reason"])
        self._kept = await self._store.apply(kept.keep(Kept(event.cursor, until, failed), told))

    def _listening(self, event: work_pb2.Event) -> Iterator[tuple[_Pipeline, int, Trigger]]:
        """Triggers of the event's type, of pipelines that were stored before it happened."""
        for _, pipeline in sorted(self._pipelines.items()):
            if pipeline.version.created_at <= event.time:
                for number, trigger in enumerate(pipeline.triggers):
                    if trigger.event == event.type:
                        yield pipeline, number, trigger

    async def _run_of(self, event: work_pb2.Event) -> Run | None:
        if not event.run_id:
            return None
        run_id = event.run_id
        return self._store.view.run(run_id) or await self._store.apply(lambda tx: tx.run(run_id))

    async def _start(
        self,
        pipeline: _Pipeline,
        number: int,
        trigger: Trigger,
        event: work_pb2.Event,
        facts: dict[str, Any],
        run: Run | None,
    ) -> NewEvent:
        name = pipeline.version.name
        chain = (*run.chain, run.pipeline) if run is not None else ()
        if name in chain or len(chain) >= LONGEST_CHAIN:
            way = " → ".join((*chain, name))
            return _news("trigger.refused", name, event, {"reason": f"pipelines would start each other: {way}"})
        try:
            params = {
                key: expressions.render(text, {"event": facts}, roots=ROOTS) for key, text in trigger.params.items()
            }
            run_id = await self._starter.start(
                name,
                params,
                node=event.node_id if not pipeline.has_targets and event.type in (*OF_NODES, "task.failed") else "",
                by=ACTOR + name,
                request_id=f"{event.cursor}/{number}",
                note=f"because of {event.type}" + (f" on {facts['node']}" if facts["node"] else ""),
                chain=chain,
            )
        except GameNodeError as refused:
            if refused.code in _PASSING:
                raise
            error = f"{refused.code}: {refused.message}"[:_LONGEST]
            logger.warning("pipeline %s could not be started because of %s: %s", name, event.type, error)
            return _news("trigger.failed", name, event, {"error": error})
        return _news("trigger.started", name, event, {"run": run_id}, run_id=run_id)


def _news(kind: str, pipeline: str, event: work_pb2.Event, data: dict[str, str], *, run_id: str = "") -> NewEvent:
    about = {"pipeline": pipeline, "event": event.type, "cursor": str(event.cursor), **data}
    return NewEvent(type=kind, node_id=event.node_id, run_id=run_id, actor=ACTOR + pipeline, data=about)
