"""Steps that hang together: those of an inlined pipeline, and those that run because another one failed.

Works on a `Fold`, as `task_flow` does, which asks it when such a step may start and when a group is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.plan import StepPlan
from gamenode_pipelines.states import StepState
from gamenode_pipelines.task_fold import Fold
from gamenode_pipelines.task_state import Step

_FAILED: Final = StepState.FAILED
_CANCELLED: Final = StepState.CANCELLED
_SKIPPED: Final = StepState.SKIPPED


@dataclass(frozen=True, slots=True)
class Skip:
    """A step never starts. The error holds back those that need it; without one they go on."""

    error: Error | None = None


def entry(fold: Fold, plan: StepPlan) -> bool | Skip:
    """Whether a step may start as far as its group and the step it answers for go; its needs are not looked at."""
    steps = fold.steps
    if plan.group:
        group = steps[plan.group]
        if group.state is StepState.PENDING:
            return False
        if not group.open:
            return Skip(None if group.error is None else held_back(group))
    elif plan.scope:  # of an inlined pipeline's `finally`: only where something of it began
        group = steps[plan.scope]
        if not group.state.ended:
            return False
        if not group.started_at and not any(step.attempt for step in _members(fold, plan.scope)):
            return Skip()
    if plan.after_failure:
        state = steps[plan.after_failure].state
        if not state.ended:
            return False
        if state is not _FAILED:
            return Skip()
    return True


def open(fold: Fold, plan: StepPlan, step: Step) -> None:
    """The group begins, or fails where the parameters it is given do not fit."""
    from gamenode_pipelines.scope import arguments_of  # the template engine: only where there is a group

    try:
        arguments_of(fold.freeze(), fold.plan, plan.id)
    except GameNodeError as bad:
        fold.put(replace(step, state=_FAILED, error=bad.error, started_at=fold.at, finished_at=fold.at))
    else:
        fold.put(replace(step, state=StepState.RUNNING, started_at=fold.at))


def close(fold: Fold, plan: StepPlan, step: Step) -> bool:
    """Ends a group when every step of it has ended; whether it did."""
    members = _members(fold, plan.id)
    if not all(member.state.ended for member in members):
        return False
    parts = tuple(part for part in (fold.plan.finally_ if step.final else fold.plan.steps) if part.group == plan.id)
    failed = first_failed(fold, parts, group=plan.id) or next((m for m in members if m.state is StepState.LOST), None)
    state = StepState.SUCCEEDED if failed is None else _FAILED
    error = None if failed is None else step_failed(failed)
    fold.put(replace(step, state=state, error=error, finished_at=fold.at))
    return True


def _members(fold: Fold, group: str) -> list[Step]:
    plans = (*fold.plan.steps, *fold.plan.finally_)
    return [fold.steps[plan.id] for plan in plans if plan.group == group]


def first_failed(fold: Fold, plans: tuple[StepPlan, ...], *, group: str = "") -> Step | None:
    """The failed step that ended first, among those of a group that may not fail; also within groups still open."""
    found: Step | None = None
    for plan in plans:
        if plan.group != group:
            continue
        step: Step | None = fold.steps[plan.id]
        if step is not None and step.open:
            step = first_failed(fold, plans, group=plan.id)
        if step is None or (step.state is not _FAILED and step.state is not _CANCELLED):
            continue
        if not plan.continue_on_error and (found is None or step.finished_at < found.finished_at):
            found = step
    return found


def held_back(by: Step) -> Error:
    """What a step says that does not start because of another one."""
    source = by.error.details.get("step", by.id) if by.state is _SKIPPED and by.error is not None else by.id
    return Error(Code.STEP_FAILED, f"not started: step {source!r} did not succeed", {"step": source})


def step_failed(step: Step) -> Error:
    """What a task or a group says that fails with one of its steps."""
    details = {"step": step.id}
    message = f"step {step.id!r} failed"
    if step.error is not None:
        details["code"] = str(step.error.code)
        message = f"{message}: {step.error.message}"
    if step.exit_code is not None:
        details["exit_code"] = str(step.exit_code)
    return Error(Code.STEP_FAILED, message, details)
