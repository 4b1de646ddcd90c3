"""What the events about one attempt of one step do to a task: begun, ended, lost, due again."""

from __future__ import annotations

from dataclasses import replace

from gamenode_pipelines.effects import StartRetryTimer
from gamenode_pipelines.errors import Code, Error, IllegalTransition
from gamenode_pipelines.events import RetryDue, StepEnded, StepLost, StepStarted
from gamenode_pipelines.plan import GROUP, IDLE, OnLost, RetryOn
from gamenode_pipelines.retry import RetryDecision, decide
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_flow import advance, is_ready, retry_later
from gamenode_pipelines.task_fold import Fold
from gamenode_pipelines.task_state import Step


def _known(fold: Fold, step_id: str) -> Step:
    found = fold.steps.get(step_id)
    if found is None:
        raise IllegalTransition(f"task {fold.task.id} has no step {step_id!r}")
    return found


def step_started(fold: Fold, body: StepStarted) -> str | None:
    """From here on the attempt may have run."""
    now = _known(fold, body.step_id)
    if body.attempt <= now.attempt:
        return f"repeated: attempt {body.attempt} of {now.id} has been started"
    if now.state.ended:
        return f"too late: step {now.id} has {now.state}"
    part = fold.plan.step(now.id)
    if (
        now.state is not StepState.PENDING
        or body.attempt != now.attempt + 1
        or now.final is (fold.outcome is None)
        or part.kind == GROUP
        or not is_ready(fold, part)
    ):
        raise IllegalTransition(f"attempt {body.attempt} of step {now.id!r} started, which may not start now")
    fold.start_step(now, body.attempt, idle=part.kind in IDLE)
    if fold.state is TaskState.WAITING:
        fold.state = TaskState.RUNNING
    return None


def _over(now: Step, attempt: int) -> str | None:
    """Why news of an attempt's end is no news; None where the attempt runs."""
    if attempt > now.attempt or attempt < 1:
        raise IllegalTransition(f"attempt {attempt} of step {now.id!r} ended, which never started")
    if attempt < now.attempt:
        return f"late: attempt {attempt} of {now.id}, now it is {now.attempt}"
    if now.state is not StepState.RUNNING:
        return f"repeated: attempt {attempt} of {now.id} is over"
    return None


def step_ended(fold: Fold, body: StepEnded) -> str | None:
    """A success, a failure, or a wait for the next attempt; then whatever follows."""
    now = _known(fold, body.step_id)
    over = _over(now, body.attempt)
    if over is not None:
        return over
    error = body.error
    if error is None and body.exit_code:
        error = Error(Code.EXIT_NONZERO, f"exited with {body.exit_code}")
    fold.end_attempt(now, body.exit_code, error, body.outputs, body.log)
    if error is not None:
        retry_later(fold, fold.steps[now.id], error, body.jitter)
    advance(fold)
    return None


def step_lost(fold: Fold, body: StepLost) -> str | None:
    """A failure, a wait for the next attempt, or the end of this assignment, as the plan wants it."""
    now = _known(fold, body.step_id)
    over = _over(now, body.attempt)
    if over is not None:
        return over
    error = Error(Code.LOST, body.reason)
    fold.end_attempt(now, None, error, {}, body.log)
    if not _failed_or_retried(fold, fold.steps[now.id], error):
        fold.put(replace(fold.steps[now.id], state=StepState.LOST))
    advance(fold)
    return None


def _failed_or_retried(fold: Fold, now: Step, error: Error) -> bool:
    """Whether a lost attempt is settled within this assignment: as a failure, or by another attempt.

    None of its processes is left, so that another attempt cannot meet them.
    """
    part = fold.plan.step(now.id)
    policy = fold.plan.on_lost
    if fold.state is TaskState.CANCELLING:
        return now.final  # of the main part a lost step is as good as a stopped one; of `finally` it is a failure
    if part.idempotent:
        decision = decide(part.retry, attempt=now.attempt, failure=RetryOn.LOST, jitter=1.0)
        if isinstance(decision, RetryDecision):
            due = fold.at + decision.after
            fold.put(replace(now, state=StepState.WAITING, retry_at=due))
            fold.effects.append(StartRetryTimer(now.id, now.attempt + 1, due))
            return True
        if now.final and policy is OnLost.RETRY:  # its task's outcome stands: there is nothing to assign anew
            fold.put(replace(now, state=StepState.PENDING, error=None, finished_at=0.0))
            return True
    return policy is OnLost.FAIL


def retry_due(fold: Fold, body: RetryDue) -> str | None:
    """The wait is over."""
    now = _known(fold, body.step_id)
    if now.state is not StepState.WAITING or body.attempt != now.attempt + 1:
        return f"late: step {now.id} does not wait for attempt {body.attempt}"
    fold.put(replace(now, state=StepState.PENDING, retry_at=0.0))
    advance(fold)
    return None
