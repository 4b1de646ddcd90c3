"""Folds what happened to a task through the task machine until nothing more follows by itself. Pure.

The machine asks for a step to be started; writing that down (`StepStarted`) is an event of its own, folded at once, so
that both are stored in one transaction.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gamenode_pipelines import tasks
from gamenode_pipelines.effects import FinishTask, Ignored, StartStep, TaskEffect
from gamenode_pipelines.errors import IllegalTransition
from gamenode_pipelines.events import StepStarted, TaskEvent, TaskEventBody
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened, and when (Unix seconds)."""

    body: TaskEventBody
    at: float


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a task got to: the events to store, in order, and what to do once they are stored."""

    task: Task
    events: Sequence[TaskEvent]
    effects: Sequence[TaskEffect]

    @property
    def finished(self) -> bool:
        """The assignment is over on this node."""
        return any(isinstance(effect, FinishTask) for effect in self.effects)


def advance(task: Task, plan: Plan, happened: Iterable[Happened], *, resume: bool = False, now: float) -> Advance:
    """Folds `happened` and what follows from it.

    `resume` adds what a process that has just started must do for the task as it stands then. What the machine ignores
    is not stored; what it calls impossible is logged and dropped, because refusing it would stop the task for ever.
    """
    events: list[TaskEvent] = []
    effects: list[TaskEffect] = []

    def fold(body: TaskEventBody, at: float) -> None:
        nonlocal task
        todo = deque([(body, at)])
        while todo:
            body, at = todo.popleft()
            event = TaskEvent(task.id, task.fence, at, body)
            try:
                task, following = tasks.step(task, plan, event)
            except IllegalTransition as error:
                logger.error("an event that cannot be: %s", error, extra={"task": task.id, "fence": task.fence})
                continue
            if len(following) == 1 and isinstance(following[0], Ignored):
                logger.debug("ignored: %s", following[0].reason, extra={"task": task.id, "fence": task.fence})
                continue
            events.append(event)
            for effect in following:
                effects.append(effect)
                if isinstance(effect, StartStep):
                    todo.append((StepStarted(effect.step_id, effect.attempt), max(at, now)))

    for each in happened:
        fold(each.body, each.at)
    if resume:
        for effect in tasks.outstanding(task, plan):
            if effect in effects:
                continue
            effects.append(effect)
            if isinstance(effect, StartStep):
                fold(StepStarted(effect.step_id, effect.attempt), now)
    return Advance(task, events, effects)
