"""Makes a task's state again from its stored events, to show that nothing else ever changed it."""

from __future__ import annotations

from collections.abc import Iterable

from gamenode_pipelines import tasks
from gamenode_pipelines.events import TaskEvent
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.tasks import Task


def replay(task: Task, plan: Plan, events: Iterable[TaskEvent]) -> Task:
    """Folds the events, in their order, into `task` as it was made (see `new_task`)."""
    for event in events:
        task, _ = tasks.step(task, plan, event)
    return task
