"""What the events about a whole assignment do to a task: given out, taken, refused, begun, lost, resolved."""

from __future__ import annotations

from collections.abc import Set
from typing import assert_never

from gamenode_pipelines.effects import FinishTask, Reassign
from gamenode_pipelines.errors import Code, Error, IllegalTransition
from gamenode_pipelines.events import (
    TaskAccepted,
    TaskAssigned,
    TaskLost,
    TaskRefused,
    TaskResolved,
    TaskSkipped,
    TaskStarted,
)
from gamenode_pipelines.plan import OnLost
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_flow import advance, give_out_again
from gamenode_pipelines.task_fold import Fold
from gamenode_pipelines.task_state import Step


def assign(fold: Fold, _: TaskAssigned) -> None:
    """Under a new fence. What ended well stays so; the rest starts again, counting its attempts on."""
    fold.fence += 1
    fold.state = TaskState.DISPATCHED
    fold.accepted = False
    fold.error = fold.cancel = fold.cancel_wanted = fold.outcome = fold.lost_from = None
    fold.started_at = fold.finished_at = fold.finally_started_at = 0.0
    if fold.fence == 1:
        return
    again = False
    kept: set[str] = set()
    for old in tuple(fold.steps.values()):
        # The main part runs again in part: then all of `finally` cleans up after it again.
        if (not old.final or not again) and _is_kept(fold, old, kept):
            kept.add(old.id)
            continue
        again = again or not old.final
        fold.put(Step(old.id, attempt=old.attempt, final=old.final))


def _is_kept(fold: Fold, old: Step, kept: Set[str]) -> bool:
    """A group stays with all its steps, and what is for a failure with the step that failed."""
    part = fold.plan.step(old.id)
    if part.group in kept:
        return True
    return _stays_done(fold, old) and (not part.after_failure or part.after_failure in kept)


def _stays_done(fold: Fold, done: Step) -> bool:
    match done.state:
        case StepState.SUCCEEDED:
            return True
        case StepState.SKIPPED:
            return done.error is None
        case StepState.FAILED:
            return fold.plan.step(done.id).continue_on_error
        case StepState.PENDING | StepState.RUNNING | StepState.WAITING | StepState.CANCELLED | StepState.LOST:
            return False
        case _:
            assert_never(done.state)


def accept(fold: Fold, _: TaskAccepted) -> str | None:
    """The agent has it on disk. Said again by the server for a task it had given up, this only takes it up again."""
    if fold.accepted:
        return "repeated: the assignment is accepted"
    fold.accepted = True
    return None


def refuse(fold: Fold, body: TaskRefused) -> None:
    """Nothing ran; `finally` does not run either."""
    fold.end_unstarted(TaskState.FAILED, body.error, steps=StepState.SKIPPED)
    fold.effects.append(FinishTask())


def start(fold: Fold, _: TaskStarted) -> None:
    """The task's time begins, and with it every step that needs nothing."""
    if not fold.accepted:
        raise IllegalTransition(f"task {fold.task.id} started before it was accepted")
    fold.state = TaskState.RUNNING
    fold.started_at = fold.at
    advance(fold)


def skip(fold: Fold, body: TaskSkipped) -> None:
    """It is never given to its node."""
    error = Error(Code.CANCELLED, body.reason)
    fold.end_unstarted(TaskState.SKIPPED, error, steps=StepState.SKIPPED)


def lose(fold: Fold, body: TaskLost) -> None:
    """The server gives the assignment up. Everything that has not ended may have run meanwhile."""
    ending = fold.state is TaskState.CANCELLING
    unsure = [s for s in fold.steps.values() if not s.state.ended or s.state is StepState.LOST]
    if fold.error is None:
        fold.error = Error(Code.LOST, body.reason)
    if fold.plan.on_lost is OnLost.FAIL:
        fold.lose_running(body.reason)
        fold.end_unstarted(TaskState.FAILED, Error(Code.LOST, body.reason), steps=StepState.SKIPPED)
        return
    if body.gone:
        fold.lose_running(body.reason)
    else:
        fold.lost_from = fold.state
    # Once `finally` runs the outcome stands: giving it out again would run the main part anew.
    undecided = not ending and fold.outcome is None
    give_out_again(fold, undecided and all(fold.plan.step(s.id).idempotent for s in unsure))


def lose_for_good(fold: Fold, body: TaskLost) -> str | None:
    """The node it was out of sight on has no memory of it."""
    if not body.gone or fold.lost_from is None:
        return "repeated: this assignment was given up"
    fold.lost_from = None
    fold.lose_running(body.reason)
    if fold.state is TaskState.LOST:
        fold.effects.append(Reassign())
    return None


def take_up(fold: Fold, state: TaskState) -> None:
    """The node was only out of reach: on from where the task stood."""
    fold.state = state
    fold.lost_from = None
    if fold.error is not None and fold.error.code is Code.LOST:
        fold.error = None


def resolve(fold: Fold, body: TaskResolved) -> None:
    """A person's word ends it, or has it assigned anew."""
    said = f"resolved as {body.as_} by {body.by}: {body.reason}"
    fold.lost_from = None
    fold.lose_running(said)
    match body.as_:
        case "retry":
            fold.state = TaskState.LOST
            fold.effects.append(Reassign())
        case "succeeded" | "failed":
            error = Error(Code.TASK_FAILED, said, {"by": body.by, "reason": body.reason})
            fold.end_unstarted(TaskState(body.as_), error, steps=StepState.SKIPPED)
            if body.as_ == "succeeded":
                fold.error = None
        case _:
            assert_never(body.as_)
