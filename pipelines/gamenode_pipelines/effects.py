"""What the task and run machines ask their shells to do. Imperative; the result of each is another event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartStep:
    """Start this attempt. The shell first stores `StepStarted`, then starts it."""

    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopStep:
    """End this attempt: its stop policy, or SIGKILL at once with `force`. Answered by its `StepEnded`."""

    step_id: str
    attempt: int
    force: bool
    #: The word its `StepEnded` will carry if this is what ended it: `cancelled`, `task_timeout`.
    reason: str


@dataclass(frozen=True, slots=True)
class StartRetryTimer:
    """Deliver `RetryDue(step_id, attempt)` at this time."""

    step_id: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class StartFinallyTimer:
    """Deliver `FinallyTimedOut` at this time."""

    at: float


@dataclass(frozen=True, slots=True)
class FinishTask:
    """The assignment is over on this node: release its slot, keep or remove its workspace."""


@dataclass(frozen=True, slots=True)
class Reassign:
    """The task was lost and may be run again: assign it under a new fence. For the server."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event changed nothing, for this reason: late, repeated, or of an old fence."""

    reason: str


TaskEffect = StartStep | StopStep | StartRetryTimer | StartFinallyTimer | FinishTask | Reassign | Ignored


@dataclass(frozen=True, slots=True)
class StartTasks:
    """Give the next `count` pending tasks of the run, in their order, to their nodes."""

    count: int


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Cancel every task of the run that has not ended."""


@dataclass(frozen=True, slots=True)
class SkipPendingTasks:
    """No further task starts: those still pending become `skipped`."""

    reason: str


@dataclass(frozen=True, slots=True)
class AwaitTurn:
    """The run may begin as soon as no other run of its group is under way: answer with `RunAdmitted`."""


@dataclass(frozen=True, slots=True)
class FinishRun:
    """The run has ended."""


RunEffect = StartTasks | CancelTasks | SkipPendingTasks | AwaitTurn | FinishRun | Ignored
