"""How a task is made to end: cancelled, or out of time."""

from __future__ import annotations

from gamenode_pipelines.effects import FinishTask
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import CancelRequested, CancelWanted, FinallyTimedOut, TaskTimedOut
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_flow import advance
from gamenode_pipelines.task_fold import Fold


def cancel_unstarted(fold: Fold, body: CancelRequested) -> None:
    """Nothing of it runs anywhere."""
    fold.cancel = body.cancel
    if fold.state is TaskState.DISPATCHED:
        fold.effects.append(FinishTask())
    fold.end_unstarted(TaskState.CANCELLED, fold.cancelled_error(), steps=StepState.CANCELLED)


def cancel(fold: Fold, body: CancelRequested) -> str | None:
    """Stops what runs; by force, and asked again, also what `finally` does."""
    wanted = body.cancel
    if wanted == fold.cancel:
        return "repeated: this cancel has been taken"
    if fold.outcome is None and fold.state is not TaskState.CANCELLING:
        fold.cancel = wanted
        fold.state = TaskState.CANCELLING
        fold.drop_pending(
            StepState.CANCELLED, Error(Code.CANCELLED, "not started: the task was cancelled"), final=False
        )
        fold.stop_running(force=wanted.force, reason=stop_reason(fold), final=False)
    elif wanted.force:
        fold.cancel = wanted
        fold.state = TaskState.CANCELLING
        fold.drop_pending(
            StepState.SKIPPED, Error(Code.CANCELLED, "skipped: the task was cancelled by force"), final=True
        )
        if fold.outcome is TaskState.SUCCEEDED:
            fold.outcome = TaskState.CANCELLED
            fold.error = fold.cancelled_error()
        fold.stop_running(force=True, reason=stop_reason(fold), final=fold.outcome is not None)
    elif fold.cancel is None:
        fold.cancel = wanted  # on record; what it asks for happens already
        return None
    else:
        return "repeated: the task is being cancelled"
    advance(fold)
    return None


def want_cancel(fold: Fold, body: CancelWanted) -> str | None:
    """Its agent is asked to end it."""
    if fold.cancel_wanted is not None and not (body.cancel.force and not fold.cancel_wanted.force):
        return "repeated: its agent has been asked to end it"
    fold.cancel_wanted = body.cancel
    return None


def time_out_unstarted(fold: Fold, _: TaskTimedOut) -> None:
    """Its time was up before it began."""
    fold.end_unstarted(TaskState.FAILED, _timed_out(fold.plan.timeout), steps=StepState.SKIPPED)
    fold.effects.append(FinishTask())


def time_out(fold: Fold, _: TaskTimedOut) -> str | None:
    """Like a cancel, but the task fails."""
    if fold.outcome is not None:
        return "too late: the main steps are over"
    fold.state = TaskState.CANCELLING
    fold.error = _timed_out(fold.plan.timeout)
    fold.drop_pending(StepState.CANCELLED, fold.error, final=False)
    fold.stop_running(force=False, reason=stop_reason(fold), final=False)
    advance(fold)
    return None


def time_out_finally(fold: Fold, _: FinallyTimedOut) -> str | None:
    """Stops what `finally` still does; a task that had succeeded fails."""
    if fold.outcome is None:
        return "too early: `finally` does not run"
    error = _timed_out(fold.plan.finally_timeout, "its `finally` steps")
    fold.drop_pending(StepState.SKIPPED, error, final=True)
    if fold.outcome is TaskState.SUCCEEDED:
        fold.outcome = TaskState.FAILED
        fold.error = error
    fold.state = TaskState.CANCELLING
    fold.stop_running(force=False, reason=str(Code.TASK_TIMEOUT), final=True)
    advance(fold)
    return None


def _timed_out(limit: float, what: str = "the task") -> Error:
    return Error(Code.TASK_TIMEOUT, f"{what} took longer than {limit:g} s", {"timeout": f"{limit:g}"})


def stop_reason(fold: Fold) -> str:
    """The word that a stopped attempt's end carries."""
    timed_out = fold.error is not None if fold.outcome is None else not fold.is_forced()
    return str(Code.TASK_TIMEOUT if timed_out else Code.CANCELLED)
