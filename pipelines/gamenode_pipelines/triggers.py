"""Triggers: which events start a pipeline, and where; and pipelines that would start each other for ever. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gamenode_pipelines.selectors import Selector, parse

#: Events that are of a run: a trigger on one says whose.
OF_RUNS: Final = ("run.succeeded", "run.failed", "run.cancelled", "run.needs_attention", "task.failed")
#: Events that are of a node.
OF_NODES: Final = (
    "node.joined", "node.online", "node.suspect", "node.offline", "node.rebooted", "node.labelled", "node.drained",
    "node.quarantined", "engine.lost", "engine.found", "instance.crashed", "instance.restarted", "instance.stopped",
    "instance.gave_up",
)  # fmt: skip
OTHERS: Final = ("schedule.missed", "schedule.failed", "notifier.failing", "notifier.recovered")
EVENTS: Final = (*OF_NODES, *OF_RUNS, *OTHERS)
#: What expressions of a trigger's parameters begin with, and what they find there.
ROOTS: Final = ("event",)
FACTS: Final = frozenset(
    ("type", "time", "node", "node_id", "labels", "pipeline", "run", "task", "step", "actor", "data", "text")
)
#: Pipelines that started one another, at most; the next one is refused.
LONGEST_CHAIN: Final = 5


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event that starts the pipeline. `pipeline` is whose run it must be, `cooldown` seconds between two starts."""

    event: str
    select: str = ""
    pipeline: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    cooldown: float = 60.0

    def takes(self, event: str, *, pipeline: str, labels: Mapping[str, str] | None) -> bool:
        """Whether it is about this event: its type, the pipeline of its run, the labels of its node (None: none)."""
        if event != self.event or (self.pipeline and pipeline != self.pipeline):
            return False
        if not self.select:
            return True
        selector: Selector = parse(self.select)
        return labels is not None and selector.matches(labels)


def circle(triggers: Mapping[str, Sequence[Trigger]], name: str) -> list[str]:
    """The way from a pipeline back to itself, each started by a run of the one before; empty where there is none."""
    started_by: dict[str, set[str]] = {}
    for pipeline, its in triggers.items():
        for trigger in its:
            if trigger.pipeline:
                started_by.setdefault(trigger.pipeline, set()).add(pipeline)
    return _way(started_by, name, [name], set())


def _way(started_by: Mapping[str, Iterable[str]], goal: str, way: list[str], seen: set[str]) -> list[str]:
    for following in sorted(started_by.get(way[-1], ())):
        if following == goal:
            return [*way, goal]
        if following not in seen:
            seen.add(following)
            if found := _way(started_by, goal, [*way, following], seen):
                return found
    return []
