"""One event being folded into a task: a working copy of it. Changes what it is told to; `task_flow` knows the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gamenode_pipelines.effects import StopStep, TaskEffect
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import LogSummary
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_state import Step, Task

_PENDING: Final = StepState.PENDING
_RUNNING: Final = StepState.RUNNING
_WAITING: Final = StepState.WAITING
_NO_OUTPUTS: Final[Mapping[str, str]] = {}


class Fold:
    """A task as the event leaves it, and what is to be done about it. Used for one event, then dropped."""

    __slots__ = (
        "accepted",
        "at",
        "cancel",
        "cancel_wanted",
        "effects",
        "error",
        "fence",
        "finally_started_at",
        "finished_at",
        "lost_from",
        "outcome",
        "plan",
        "started_at",
        "state",
        "steps",
        "task",
    )

    def __init__(self, task: Task, plan: Plan, at: float) -> None:
        self.task = task
        self.plan = plan
        self.at = at
        self.steps = task.steps
        self.state = task.state
        self.fence = task.fence
        self.error = task.error
        self.cancel = task.cancel
        self.cancel_wanted = task.cancel_wanted
        self.started_at = task.started_at
        self.finished_at = task.finished_at
        self.accepted = task.accepted
        self.outcome = task.outcome
        self.finally_started_at = task.finally_started_at
        self.lost_from = task.lost_from
        self.effects: list[TaskEffect] = []

    def freeze(self) -> Task:
        """The task as it stands now."""
        old = self.task
        return Task(
            old.id,
            old.run_id,
            old.node,
            self.steps,
            self.state,
            self.fence,
            self.error,
            self.cancel,
            old.created_at,
            self.started_at,
            self.finished_at,
            self.accepted,
            old.position,
            self.outcome,
            self.finally_started_at,
            self.lost_from,
            old.group,
            self.cancel_wanted,
        )

    # -- steps -----------------------------------------------------------------------------------------------------

    def put(self, step: Step) -> None:
        """Stores a step's new state; the task that came in keeps its own."""
        if self.steps is self.task.steps:
            self.steps = dict(self.steps)
        self.steps[step.id] = step  # type: ignore[index] # its own copy by now

    def start_step(self, step: Step, attempt: int, *, idle: bool) -> None:
        """The attempt begins."""
        self.put(Step(step.id, _RUNNING, attempt, None, None, _NO_OUTPUTS, self.at, 0.0, None, 0.0, step.final, idle))

    def end_attempt(
        self, step: Step, exit_code: int | None, error: Error | None, outputs: Mapping[str, str], log: LogSummary | None
    ) -> None:
        """The attempt is over: `error` None is success."""
        if error is None:
            state = StepState.SUCCEEDED
        elif error.code is Code.CANCELLED:
            state = StepState.CANCELLED
        else:
            state = StepState.FAILED
        self.put(
            Step(
                step.id,
                state,
                step.attempt,
                exit_code,
                error,
                outputs,
                step.started_at,
                self.at,
                log,
                0.0,
                step.final,
            )
        )

    def is_forced(self) -> bool:
        """Somebody asked for the end without grace."""
        return self.cancel is not None and self.cancel.force

    def drop_pending(self, state: StepState, error: Error, *, final: bool) -> None:
        """Ends every step of one part that has no attempt running."""
        for step in tuple(self.steps.values()):
            if step.final is final and (step.state is _PENDING or step.state is _WAITING or step.open):
                self.put(replace(step, state=state, error=error, finished_at=self.at, retry_at=0.0))

    def lose_running(self, reason: str) -> None:
        """Marks every running step as lost."""
        for step in tuple(self.steps.values()):
            if step.state is _RUNNING and not step.open:
                self.put(replace(step, state=StepState.LOST, error=Error(Code.LOST, reason), finished_at=self.at))

    def stop_running(self, *, force: bool, reason: str, final: bool) -> None:
        """Asks for the end of every running step of one part."""
        for step in self.steps.values():
            if step.state is _RUNNING and step.final is final and not step.open:
                self.effects.append(StopStep(step.id, step.attempt, force, reason))

    def end_unstarted(self, state: TaskState, error: Error, *, steps: StepState) -> None:
        """The task is over without its steps."""
        for final in (False, True):
            self.drop_pending(steps, error, final=final)
        self.state = state
        self.error = error
        self.finished_at = self.at

    def cancelled_error(self) -> Error:
        """What a cancelled task says."""
        cancel = self.cancel
        if cancel is None:
            return Error(Code.CANCELLED, "cancelled")
        why = f": {cancel.reason}" if cancel.reason else ""
        return Error(Code.CANCELLED, f"cancelled by {cancel.by or 'somebody'}{why}")
