"""Everything that can happen to a run: the inputs of the run machine, facts in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.gates import Decision, Hold
from gamenode_pipelines.states import TaskState


@dataclass(frozen=True, slots=True)
class RunCreated:
    """The run and its pending tasks are stored."""


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """One task, of this position in the run, went from one state to another."""

    old: TaskState
    new: TaskState
    position: int = 0


@dataclass(frozen=True, slots=True)
class RunCancelRequested:
    """Somebody wants the run to end."""

    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class RunDecided:
    """Somebody has said whether the run may begin."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class StepDecided:
    """Somebody has said whether tasks may go on behind a step."""

    key: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class RunAdmitted:
    """The run's group is free, and it is the run's turn."""


@dataclass(frozen=True, slots=True)
class RunPaused:
    """Nothing further of it is to start."""

    hold: Hold


@dataclass(frozen=True, slots=True)
class RunResumed:
    """What was paused is to go on."""


@dataclass(frozen=True, slots=True)
class PauseOver:
    """The time may have come for the next tasks (`next_at`)."""


RunEvent = (
    RunCreated
    | TaskChanged
    | RunCancelRequested
    | RunDecided
    | StepDecided
    | RunAdmitted
    | RunPaused
    | RunResumed
    | PauseOver
)
