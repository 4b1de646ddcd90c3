"""Stores and what goes into them: records with few words, and a store whose effects and events are kept to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.tasks import NodeFacts, Step, Task
from gamenode_proto.v1 import work_pb2
from gamenode_server.hub import NOW, Hub
from gamenode_server.records import Node, PipelineVersion
from gamenode_server.store import Store, open_store

AUDIT_KEY = b"audit" * 7


@dataclass
class ManualClock:
    """A clock that a test sets."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        """What it was set to."""
        return self.time


def a_run(run_id: str, **fields: Any) -> Run:
    """A running run of one task."""
    given: dict[str, Any] = {
        "pipeline": "deploy",
        "pipeline_version": 1,
        "total": 1,
        "state": RunState.RUNNING,
        "created_at": 1_800_000_000.0,
        "created_by": "ops",
        "bundle_digest": "d" * 64,
        "counts": {TaskState.RUNNING: 1},
    }
    return Run(id=run_id, **{**given, **fields})


def a_task(task_id: str, run_id: str, node_id: str = "nodeaaaaaaaa", **fields: Any) -> Task:
    """A running task of two steps."""
    given: dict[str, Any] = {
        "state": TaskState.RUNNING,
        "fence": 1,
        "created_at": 1_800_000_000.0,
        "steps": {"pull": Step("pull"), "start": Step("start")},
    }
    return Task(id=task_id, run_id=run_id, node=NodeFacts(node_id, f"name-{node_id}"), **{**given, **fields})


def a_node(node_id: str, name: str = "", **fields: Any) -> Node:
    """A node that never connected."""
    return Node(id=node_id, name=name or f"name-{node_id}", **fields)


def a_pipeline(name: str, version: int, text: str = "pipeline: x") -> PipelineVersion:
    """A version of a pipeline."""
    return PipelineVersion(name, version, text, "what it does", "0" * 64, 1_800_000_000.0, "ops")


@dataclass
class OpenStore:
    """A store with what came out of it, in order."""

    store: Store
    hub: Hub
    clock: ManualClock
    #: ("effects", …) and ("event", …) as they arrived on the loop.
    log: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def effects(self) -> list[object]:
        """Every effect so far."""
        return [what for kind, what in self.log if kind == "effect"]

    async def events(self, after: int = 0) -> list[work_pb2.Event]:
        """Every event behind a cursor."""
        return [event async for batch in self.hub.subscribe(after=after, follow=False) for event in batch.events]


@asynccontextmanager
async def opened(
    path: Path | str = ":memory:", *, clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[OpenStore]:
    """A store that is open for as long as the context."""
    clock = clock or ManualClock()
    log: list[tuple[str, Any]] = []
    hub = RecordingHub(log)

    def on_effects(effects: Sequence[object]) -> None:
        log.extend(("effect", effect) for effect in effects)

    store = open_store(path, hub=hub, on_effects=on_effects, clock=clock, audit_key=AUDIT_KEY, **options)
    try:
        yield OpenStore(store, hub, clock, log)
    finally:
        await store.close()


class RecordingHub(Hub):
    """A hub that also writes down the cursors it was told of."""

    def __init__(self, log: list[tuple[str, Any]]) -> None:
        super().__init__()
        self._log = log

    def publish(self, events: Sequence[work_pb2.Event]) -> None:
        """As a hub does, written down."""
        self._log.extend(("event", event.cursor) for event in events)
        super().publish(events)


def doing(*steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One operation that does each of these; answers with what the last one did."""

    def operation(tx: Any) -> Any:
        result = None
        for step in steps:
            result = step(tx)
        return result

    return operation


__all__ = [
    "AUDIT_KEY",
    "NOW",
    "ManualClock",
    "OpenStore",
    "a_node",
    "a_pipeline",
    "a_run",
    "a_task",
    "doing",
    "opened",
]
