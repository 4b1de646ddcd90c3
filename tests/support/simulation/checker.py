"""What must hold whatever goes wrong. Hears of every effect and every stored task; judges at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from gamenode_pipelines.events import TaskLost, TaskResolved
from gamenode_pipelines.plan import OnLost, Plan
from gamenode_pipelines.replay import replay
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.tasks import Task
from support.simulation.host import Exit, Key
from support.simulation.server_shell import Database


class Violation(AssertionError):
    """Something that must never be."""


class Checker:
    """Keeps the history of one world."""

    def __init__(self) -> None:
        self.effects: dict[tuple[str, str], list[Key]] = {}
        self.failed: set[Key] = set()
        self.agents: dict[tuple[str, int], Task] = {}

    def spawned(self, key: Key, others: Iterable[Key]) -> None:
        """A process is about to be."""
        for other in others:
            if (other.task_id, other.step_id) == (key.task_id, key.step_id):
                raise Violation(f"two processes of one step at a time: {other} and {key}")

    def effect(self, key: Key) -> None:
        """A step did, this moment, what it is there for."""
        self.effects.setdefault((key.task_id, key.step_id), []).append(key)

    def exited(self, key: Key, exit: Exit) -> None:
        """A process ended by itself."""
        if exit.code != 0:
            self.failed.add(key)

    def stored_by_agent(self, task: Task, processes: Iterable[Key]) -> None:
        """An agent moved a task; these processes are alive on its node."""
        over = task.state.ended or task.state in (TaskState.LOST, TaskState.NEEDS_ATTENTION)
        if over and any((key.task_id, key.fence) == (task.id, task.fence) for key in processes):
            raise Violation(f"{task.id} is {task.state}, and a process of it lives")
        before = self.agents.get((task.id, task.fence))
        if before is not None and before.state.ended:
            raise Violation(f"{task.id} moved on its node after its end: {before.state} to {task.state}")
        self.agents[task.id, task.fence] = task

    def judge(self, disk: Database) -> None:
        """The end: nothing moves any more."""
        self._effects(disk)
        self._storage(disk)
        self._runs(disk)
        for id, task in disk.tasks.items():
            self._task(disk, id, task)

    def _effects(self, disk: Database) -> None:
        for (task_id, step_id), keys in self.effects.items():
            twice = [key for key, times in Counter(keys).items() if times > 1]
            if twice:
                raise Violation(f"one attempt had its effect twice: {twice[0]}")
            if [(k.fence, k.attempt) for k in keys] != sorted((k.fence, k.attempt) for k in keys):
                raise Violation(f"an older attempt had its effect after a newer one: {keys}")
            plan = disk.plans[disk.tasks[task_id].run_id]
            if plan.step(step_id).idempotent:
                continue
            retried = self._retried(disk, task_id)
            for first, second in pairwise(keys):
                if first in self.failed or any(first.fence <= fence < second.fence for fence in retried):
                    continue
                raise Violation(f"a step that is not idempotent ran again: {first}, then {second}")

    @staticmethod
    def _retried(disk: Database, task_id: str) -> list[int]:
        """The assignments after which a person wanted another."""
        return [e.fence for e in disk.events[task_id] if isinstance(e.body, TaskResolved) and e.body.as_ == "retry"]

    def _storage(self, disk: Database) -> None:
        for node, applied in disk.applied.items():
            boxes: dict[str, int] = {}
            for outbox_id, seq in applied:
                if seq != boxes.get(outbox_id, 0) + 1:
                    raise Violation(f"{node}: record {seq} of {outbox_id} was stored after {boxes.get(outbox_id, 0)}")
                boxes[outbox_id] = seq

    def _runs(self, disk: Database) -> None:
        for run in disk.runs.values():
            if not run.state.ended and run.state is not RunState.NEEDS_ATTENTION:
                states = [str(disk.tasks[id].state) for id in disk.of_run[run.id]]
                raise Violation(f"{run.id} is {run.state} for ever: {states}")
            counts = Counter(disk.tasks[id].state for id in disk.of_run[run.id])
            if counts != run.counts:
                raise Violation(f"{run.id} counts {run.counts}, and its tasks are {counts}")

    def _task(self, disk: Database, id: str, task: Task) -> None:
        plan = disk.plans[task.run_id]
        again = replay(disk.first[id], plan, disk.events[id])
        if again != task:
            raise Violation(f"{id} is not what its events make it:\n{task}\n{again}")
        theirs = self.agents.get((id, task.fence))
        if theirs is None or _server_decided(disk, task, theirs, plan):
            return
        if theirs != replace(task, cancel_wanted=None):  # what the server wants of it, only the server keeps
            raise Violation(f"server and agent differ on {id}:\n{task}\n{theirs}")


def _server_decided(disk: Database, task: Task, theirs: Task, plan: Plan) -> bool:
    """Whether the server's word on this assignment went beyond the agent's."""
    if theirs.state in (TaskState.LOST, TaskState.NEEDS_ATTENTION) and task.state is TaskState.CANCELLED:
        return True  # cancelled when nothing of it was on the node any more
    for event in disk.events[task.id]:
        match event.body:
            case TaskResolved() if event.fence == task.fence:
                return True
            case TaskLost(gone=gone) if event.fence == task.fence and (gone or plan.on_lost is OnLost.FAIL):
                return True
            case _:
                pass
    return False


def states(disk: Database) -> Mapping[str, str]:
    """Every task's state, for messages."""
    return {id: str(task.state) for id, task in disk.tasks.items()}
