"""The run machine: how a run moves as its tasks do. Its input is "this task changed", never the list of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamenode_pipelines.effects import RunEffect
from gamenode_pipelines.errors import Error
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.states import RunState, TaskState


@dataclass(frozen=True, slots=True)
class Run:
    """One trigger of a pipeline. `counts` has the number of tasks in each state that occurs."""

    id: str
    pipeline: str
    pipeline_version: int
    total: int
    state: RunState = RunState.PENDING
    error: Error | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    created_by: str = ""
    bundle_digest: str = ""
    cancel: CancelInfo | None = None
    counts: Mapping[TaskState, int] = field(default_factory=dict)
    max_parallel: int = 0
    max_failures: int = 1
    target: str = ""
    #: Tasks taken from pending so far, in order of their position.
    started: int = 0


@dataclass(frozen=True, slots=True)
class RunCreated:
    """The run and its pending tasks are stored."""


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """One task went from one state to another."""

    old: TaskState
    new: TaskState


@dataclass(frozen=True, slots=True)
class RunCancelRequested:
    """Somebody wants the run to end."""

    cancel: CancelInfo


RunEvent = RunCreated | TaskChanged | RunCancelRequested


def step(run: Run, event: RunEvent, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    """Folds one event into a run in constant time.

    Raises IllegalTransition, changing nothing, for an event that cannot happen in this state.
    """
    raise NotImplementedError
