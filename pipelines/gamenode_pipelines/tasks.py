"""The task machine: how one run's share on one node moves. The only place that changes a task's or a step's state.

Runs on the agent, which is authoritative for steps; the server folds the same events through the same function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamenode_pipelines.effects import TaskEffect
from gamenode_pipelines.errors import Error
from gamenode_pipelines.events import CancelInfo, LogSummary, TaskEvent
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.states import StepState, TaskState


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What expressions may know of the node; fixed when the task is assigned."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a task as it stands. `attempt` is 0 until the first one starts."""

    id: str
    state: StepState = StepState.PENDING
    attempt: int = 0
    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    finished_at: float = 0.0
    log: LogSummary | None = None
    retry_at: float = 0.0
    final: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A run's share on one node. `steps` is in the plan's order, main steps first, then `finally`."""

    id: str
    run_id: str
    node: NodeFacts
    steps: Mapping[str, Step]
    state: TaskState = TaskState.PENDING
    fence: int = 0
    error: Error | None = None
    cancel: CancelInfo | None = None
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    accepted: bool = False
    position: int = 0
    #: What the main steps came to, once `finally` runs.
    outcome: TaskState | None = None
    finally_started_at: float = 0.0


def new_task(*, id: str, run_id: str, node: NodeFacts, plan: Plan, created_at: float, position: int = 0) -> Task:
    """A pending task with every step of the plan pending."""
    raise NotImplementedError


def step(task: Task, plan: Plan, event: TaskEvent) -> tuple[Task, tuple[TaskEffect, ...]]:
    """Folds one event into a task; `event.at` is the only time there is.

    Raises IllegalTransition, changing nothing, for an event that cannot happen in this state. A late, repeated or
    outdated event changes nothing and answers `Ignored` with the reason.
    """
    raise NotImplementedError
