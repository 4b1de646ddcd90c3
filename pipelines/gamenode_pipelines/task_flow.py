"""The rules for what moves next in a task: when a step may start, is held back or tried again, when a part is over.

Works on a `Fold`. Which event does what is the table in `tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gamenode_pipelines import task_groups
from gamenode_pipelines.effects import (
    FinishTask,
    Reassign,
    StartFinallyTimer,
    StartRetryTimer,
    StartStep,
)
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import GROUP, OnLost, StepPlan
from gamenode_pipelines.retry import RetryDecision, decide, failure_kind
from gamenode_pipelines.scope import task_scope
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_fold import Fold
from gamenode_pipelines.task_groups import Skip, first_failed, held_back, step_failed
from gamenode_pipelines.task_state import Step

#: A task that was lost this often is not given out again without a person.
MAX_ASSIGNMENTS: Final = 10

_PENDING: Final = StepState.PENDING
_RUNNING: Final = StepState.RUNNING
_WAITING: Final = StepState.WAITING
_SUCCEEDED: Final = StepState.SUCCEEDED
_FAILED: Final = StepState.FAILED
_CANCELLED: Final = StepState.CANCELLED
_SKIPPED: Final = StepState.SKIPPED
_LOST: Final = StepState.LOST


def advance(fold: Fold) -> None:
    """Starts what can start now and ends what is over."""
    if fold.outcome is None:
        running, waiting = _move_main(fold)
        if running or waiting:
            if fold.state is not TaskState.CANCELLING:
                fold.state = TaskState.RUNNING if running else TaskState.WAITING
            return
        outcome = _outcome_of_main(fold)
        if outcome is None:
            return
        if not _has_pending_finally(fold):
            _end(fold, outcome)
            return
        fold.outcome = outcome
        fold.state = TaskState.RUNNING
        fold.finally_started_at = fold.at
        if fold.plan.finally_timeout > 0:
            fold.effects.append(StartFinallyTimer(fold.at + fold.plan.finally_timeout))
    running, waiting = _move(fold, fold.plan.finally_)
    if running or waiting:
        if fold.state is not TaskState.CANCELLING:
            fold.state = TaskState.RUNNING if running else TaskState.WAITING
        return
    lost = [step for step in fold.steps.values() if step.final and step.state is _LOST]
    if lost:
        give_up(fold, lost, again=False)
        return
    _end(fold, fold.outcome or TaskState.FAILED)


def is_ready(fold: Fold, plan: StepPlan) -> bool:
    """Whether everything the step waits for is there. Its condition is not asked."""
    return _verdict(fold, plan, final=fold.steps[plan.id].final) is True


def _move_main(fold: Fold) -> tuple[bool, bool]:
    steps = fold.steps
    for step in steps.values():
        if step.state is _LOST and not step.final:  # nothing new begins in an assignment that will be given up
            for other in tuple(steps.values()):
                if other.state is _WAITING and not other.final:
                    fold.put(replace(other, state=_PENDING, retry_at=0.0))
            return any(s.state is _RUNNING and not s.open for s in steps.values()), False
    return _move(fold, fold.plan.steps)


def _move(fold: Fold, plans: tuple[StepPlan, ...]) -> tuple[bool, bool]:
    """Starts or skips what is due; whether any step runs now or is about to, and whether any waits."""
    running = waiting = False
    begun: list[str] = []
    again = True
    while again:
        again = False
        for plan in plans:
            step = fold.steps[plan.id]
            state = step.state
            if state is _RUNNING:
                if not step.open:
                    running = True
                elif task_groups.close(fold, plan, step):
                    again = True
            elif state is _WAITING:
                waiting = True
            elif state is _PENDING and plan.id not in begun:
                verdict = _verdict(fold, plan, final=step.final)
                if verdict is False:
                    continue
                if verdict is True and _condition_holds(fold, plan, step):
                    if plan.kind == GROUP:
                        task_groups.open(fold, plan, step)
                        again = True
                        continue
                    fold.effects.append(StartStep(plan.id, step.attempt + 1))
                    begun.append(plan.id)
                    running = True
                    continue
                if isinstance(verdict, Skip):
                    fold.put(replace(step, state=_SKIPPED, error=verdict.error, finished_at=fold.at))
                again = True  # one more step is over: others may follow
    return running, waiting


def _verdict(fold: Fold, plan: StepPlan, *, final: bool) -> bool | Skip:
    """True: may start; False: not yet; `Skip`: never.

    In `finally`, and after a failure, needs are only an order: cleaning up does not end because one part of it failed.
    """
    steps = fold.steps
    ready: bool | Skip = True
    if plan.group or plan.after_failure or plan.scope:
        ready = task_groups.entry(fold, plan)
        if isinstance(ready, Skip):
            return ready
        final = final or bool(plan.after_failure)
    for need in plan.needs:
        other = steps[need]
        state = other.state
        if state is _SUCCEEDED:
            continue
        if final:
            ready = ready and state.ended
        elif state is _SKIPPED:
            if other.error is not None:
                return Skip(held_back(other))
        elif state is _FAILED or state is _CANCELLED:
            if not fold.plan.step(need).continue_on_error:
                return Skip(held_back(other))
        else:
            ready = False
    return ready


def _condition_holds(fold: Fold, plan: StepPlan, step: Step) -> bool:
    """Whether the step's own condition lets it start; if not, it is over."""
    if not plan.condition:
        return True
    from gamenode_pipelines import expressions  # the template engine: only where there is a condition

    try:
        if expressions.is_true(plan.condition, task_scope(fold.freeze(), fold.plan, plan.scope)):
            return True
        fold.put(replace(step, state=_SKIPPED, finished_at=fold.at))
    except expressions.ExpressionError as bad:
        error = Error(Code.INVALID_ARGUMENT, f"its condition cannot be evaluated: {bad.message}")
        fold.put(replace(step, state=_FAILED, error=error, finished_at=fold.at))
    return False


def _outcome_of_main(fold: Fold) -> TaskState | None:
    """What the main part came to, now that nothing of it can move; None where it was given up instead."""
    if fold.state is TaskState.CANCELLING:
        if fold.error is not None:
            return TaskState.FAILED
        fold.error = fold.cancelled_error()
        return TaskState.CANCELLED
    failed = first_failed(fold, fold.plan.steps)
    if failed is not None:
        fold.error = step_failed(failed)
        fold.drop_pending(_SKIPPED, held_back(failed), final=False)
        return TaskState.FAILED
    lost = [step for step in fold.steps.values() if step.state is _LOST and not step.final]
    if lost:
        give_up(fold, lost, again=True)
        return None
    stuck = [step.id for step in fold.steps.values() if step.state is _PENDING and not step.final]
    if stuck:
        fold.error = Error(Code.INTERNAL, f"what these steps need can never be there: {', '.join(stuck)}")
        fold.drop_pending(_SKIPPED, fold.error, final=False)
        return TaskState.FAILED
    return TaskState.SUCCEEDED


def give_up(fold: Fold, lost: Sequence[Step], *, again: bool) -> None:
    """The assignment is over without an outcome: it is given out again, or a person is asked."""
    first = lost[0]
    reason = first.error.message if first.error else ""
    fold.error = Error(
        Code.LOST,
        f"whether step {first.id!r} ran to its end is not known: {reason}",
        {"step": first.id, "attempt": str(first.attempt)},
    )
    fold.effects.append(FinishTask())
    give_out_again(fold, again and all(fold.plan.step(step.id).idempotent for step in lost))


def give_out_again(fold: Fold, harmless: bool) -> None:
    """Lost, to be assigned anew, where that is wanted and harmless; else a person must say what became of it.

    While the node may still tell (`lost_from`), nothing is given out: it asks for that when it is known to be gone.
    """
    if harmless and fold.plan.on_lost is OnLost.RETRY and fold.fence < MAX_ASSIGNMENTS:
        fold.state = TaskState.LOST
        if fold.lost_from is None:
            fold.effects.append(Reassign())
    else:
        fold.state = TaskState.NEEDS_ATTENTION


def _has_pending_finally(fold: Fold) -> bool:
    steps = fold.steps
    return any(steps[plan.id].state is _PENDING for plan in fold.plan.finally_)


def _end(fold: Fold, outcome: TaskState) -> None:
    fold.state = outcome
    if outcome is TaskState.SUCCEEDED and fold.plan.finally_:
        failed = first_failed(fold, fold.plan.finally_)
        if failed is not None:
            fold.state = TaskState.FAILED
            fold.error = step_failed(failed)
    fold.finished_at = fold.at
    fold.effects.append(FinishTask())


def retry_later(fold: Fold, step: Step, error: Error, jitter: float) -> bool:
    """Lets the step, as its failed attempt left it, wait for another one, if there is to be one."""
    policy = fold.plan.step(step.id)
    kind = failure_kind(error)
    if kind is None or policy.retry.attempts <= step.attempt:
        return False
    if fold.state is TaskState.CANCELLING or (_may_have_worked(error) and not policy.idempotent):
        return False
    decision = decide(policy.retry, attempt=step.attempt, failure=kind, jitter=jitter)
    if not isinstance(decision, RetryDecision):
        return False
    due = fold.at + decision.after
    fold.put(replace(step, state=_WAITING, retry_at=due))
    fold.effects.append(StartRetryTimer(step.id, step.attempt + 1, due))
    return True


def _may_have_worked(error: Error) -> bool:
    """Whether an attempt that ended so may have had its effect."""
    return error.code is Code.LOST or error.code is Code.SUPERVISOR_LOST
