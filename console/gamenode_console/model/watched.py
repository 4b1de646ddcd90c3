"""One run that is looked at closely, filled by the core thread and shown by a screen. Pure."""

from __future__ import annotations

import threading

from gamenode_console import words
from gamenode_proto.v1 import pipeline_management_pb2, work_pb2


class WatchedRun:
    """A run with its tasks as last told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dirty: set[str] = set()
        self.run: work_pb2.Run | None = None
        self.tasks: dict[str, work_pb2.Task] = {}
        self.ended = False
        #: Why nothing more comes, where that is so.
        self.problem = ""

    def put(self, update: pipeline_management_pb2.RunUpdate) -> None:
        """Takes over an update."""
        with self._lock:
            self.run = update.run
            self.ended = update.ended
            for task in update.tasks:
                self.tasks[task.id] = task
                self._dirty.add(task.id)

    def take(self) -> list[work_pb2.Task]:
        """The tasks that have changed since this was last asked."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
            return [self.tasks[id] for id in dirty]

    @property
    def step_ids(self) -> list[str]:
        """The steps in order: they are the same for every task that has any."""
        with self._lock:
            task = next((each for each in self.tasks.values() if each.steps), None)
        return [step.id for step in task.steps] if task is not None else []


def current_step(task: work_pb2.Task) -> work_pb2.StepStatus | None:
    """The step that a person wants to see: the one that failed, else the one that runs, else the last that began."""
    steps = list(task.steps)
    for wanted in (("failed", "lost"), ("running", "waiting")):
        for step in steps:
            if words.step_state(step.state) in wanted:
                return step
    begun = [step for step in steps if step.started_at]
    return begun[-1] if begun else None
