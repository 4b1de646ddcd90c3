"""What is counted as it happens: ends of runs and steps, how fast work is given out, how long commits take.

Counts from the start of the server, by following the events; a restart begins at 0, as Prometheus expects of counters.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from gamenode_pipelines.states import RunState, StepState
from gamenode_proto.v1 import work_pb2
from gamenode_server.hub import Hub

logger = logging.getLogger(__name__)

#: Seconds after which events are followed again.
AGAIN = 1.0
#: Assignments whose acceptance is waited for; older ones are not timed.
MOST_PENDING = 10_000
#: Where the kind of a step cannot be told any more.
UNKNOWN = "unknown"

_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_DISPATCH = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RUN_ENDS = {f"run.{state}": str(state) for state in RunState if state.ended}
_STEP_ENDS = {f"step.{state}": str(state) for state in StepState if state.ended or state is StepState.LOST}

#: The kind of a step of a run, by their ids; empty where it is not known.
KindOf = Callable[[str, str], str]


class Counting:
    """The counters. `observe_commit` may be called on any thread, the rest on the loop."""

    def __init__(self, registry: CollectorRegistry, *, kind_of: KindOf, now: Callable[[], float]) -> None:
        self._kind_of = kind_of
        self._now = now
        self._assigned: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._runs = Counter("gamenode_runs_ended", "Runs that ended, by how.", ["outcome"], registry=registry)
        self._steps = Counter(
            "gamenode_steps_ended", "Steps that ended, by kind and by how.", ["kind", "outcome"], registry=registry
        )
        self._dispatch = Histogram(
            "gamenode_dispatch_seconds",
            "From the decision to give a task to a node until its agent has it on its disk.",
            registry=registry,
            buckets=_DISPATCH,
        )
        commits = Histogram(
            "gamenode_store_commit_seconds", "How long commits of the store took.", registry=registry, buckets=_COMMIT
        )
        self.observe_commit: Callable[[float], None] = commits.observe
        for outcome in _RUN_ENDS.values():
            self._runs.labels(outcome)  # so that the first failure is a step from 0 and not a series out of nowhere

    async def follow(self, hub: Hub) -> None:
        """Counts what happens from now on, until it is cancelled. What cannot be read is missing from the counts."""
        while True:
            try:
                async for batch in hub.subscribe():
                    self.count(batch.events)
            except Exception:  # the figures of a server are not worth the server
                logger.exception("events could not be counted")
                await asyncio.sleep(AGAIN)

    def count(self, events: Iterable[work_pb2.Event]) -> None:
        """Counts events, each once."""
        for event in events:
            kind = event.type
            if kind == "task.assigned":
                self._assigned[(event.task_id, event.fence)] = self._now()
                if len(self._assigned) > MOST_PENDING:
                    self._assigned.popitem(last=False)
            elif kind == "task.accepted":
                since = self._assigned.pop((event.task_id, event.fence), None)
                if since is not None:
                    self._dispatch.observe(max(0.0, self._now() - since))
            elif kind in _STEP_ENDS:
                step = self._kind_of(event.run_id, event.step_id) or UNKNOWN
                self._steps.labels(step, _STEP_ENDS[kind]).inc()
            elif kind in _RUN_ENDS:
                self._runs.labels(_RUN_ENDS[kind]).inc()
