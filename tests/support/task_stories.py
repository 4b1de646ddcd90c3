"""Tells a task's life one event after another, as an agent's shell would, and keeps what was folded."""

from __future__ import annotations

from typing import Any

from gamenode_pipelines import tasks
from gamenode_pipelines.effects import StartStep, TaskEffect
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskEvent,
    TaskEventBody,
    TaskStarted,
)
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.tasks import NodeFacts, Task

NODE = NodeFacts("node1", "eu-1", {"region": "eu"})


def plan_of(*steps: StepPlan | str, finally_: tuple[StepPlan | str, ...] = (), **kwargs: Any) -> Plan:
    """A plan; a step given by its id alone needs nothing."""

    def make(step: StepPlan | str) -> StepPlan:
        return step if isinstance(step, StepPlan) else StepPlan(step)

    return Plan("demo", 1, tuple(map(make, steps)), tuple(map(make, finally_)), **kwargs)


def task_of(plan: Plan) -> Task:
    """A pending task of the plan."""
    return tasks.new_task(id="task1", run_id="run1", node=NODE, plan=plan, created_at=1000.0)


class Story:
    """A task, and what has happened to it. Each event comes one second after the last."""

    def __init__(self, plan: Plan, *, begun: bool = True) -> None:
        self.plan = plan
        self.first = self.task = task_of(plan)
        self.events: list[TaskEvent] = []
        self.effects: list[TaskEffect] = []
        self.now = 1000.0
        if begun:
            self.begin()

    def begin(self) -> Story:
        """Assigned, accepted, started."""
        self.fold(TaskAssigned(), fence=self.task.fence + 1)
        self.fold(TaskAccepted())
        self.fold(TaskStarted())
        return self

    def fold(self, body: TaskEventBody, *, fence: int | None = None, at: float | None = None) -> list[TaskEffect]:
        """Folds an event, then `StepStarted` for every step it wants started; returns all effects."""
        self.now = self.now + 1.0 if at is None else at
        effects = self.fold_only(body, fence=fence)
        for effect in tuple(effects):
            if isinstance(effect, StartStep):
                effects += self.fold_only(StepStarted(effect.step_id, effect.attempt))
        return effects

    def fold_only(self, body: TaskEventBody, *, fence: int | None = None) -> list[TaskEffect]:
        """Folds just this event."""
        event = TaskEvent("task1", self.task.fence if fence is None else fence, self.now, body)
        self.task, effects = tasks.step(self.task, self.plan, event)
        self.events.append(event)
        self.effects.extend(effects)
        return list(effects)

    def ended(
        self, step_id: str, exit_code: int | None = 0, *, code: Code | None = None, **more: Any
    ) -> list[TaskEffect]:
        """The step's attempt ended, with an exit code or an error code."""
        error = None if code is None else Error(code, f"said {code}")
        attempt = self.task.steps[step_id].attempt
        return self.fold(StepEnded(step_id, attempt, None if error else exit_code, error, **more))

    def lost(self, step_id: str) -> list[TaskEffect]:
        """What became of the step's attempt is not known."""
        return self.fold(StepLost(step_id, self.task.steps[step_id].attempt, "the host was restarted"))

    def due(self, step_id: str) -> list[TaskEffect]:
        """The step's wait is over."""
        step = self.task.steps[step_id]
        return self.fold(RetryDue(step_id, step.attempt + 1), at=max(self.now, step.retry_at))

    def cancel(self, *, force: bool = False, reason: str = "") -> list[TaskEffect]:
        """Somebody cancels the task."""
        return self.fold(CancelRequested(CancelInfo("ops", reason, force, self.now)))

    @property
    def state(self) -> str:
        """The task's state as a word."""
        return str(self.task.state)

    @property
    def states(self) -> dict[str, str]:
        """Each step's state as a word."""
        return {step.id: str(step.state) for step in self.task.steps.values()}

    @property
    def code(self) -> str:
        """The task's error code."""
        return "" if self.task.error is None else str(self.task.error.code)
