"""Groups: who holds one, whose turn is next, and what becomes of a new run whose groups are taken. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gamenode_pipelines.compile_fleet import group_of_run, group_of_task, per_task
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.gates import Concurrency, OnConflict
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_state import NodeFacts, Task
from gamenode_pipelines.wording import listed


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a run that is being made: its own, or those of its tasks by node id."""

    run: str = ""
    tasks: Mapping[str, str] | None = None

    def of(self, node_id: str) -> str:
        """The group of the task on a node; empty for none."""
        return self.tasks.get(node_id, "") if self.tasks is not None else ""


def groups_of(concurrency: Concurrency | None, run_id: str, plan: Plan, nodes: Iterable[NodeFacts]) -> Groups:
    """What a run's groups are called. INVALID_ARGUMENT where a name comes out empty."""
    if concurrency is None:
        return Groups()
    if per_task(concurrency):
        return Groups(tasks={node.id: group_of_task(concurrency, run_id, plan, node) for node in nodes})
    return Groups(run=group_of_run(concurrency, run_id, plan))


def holds(task: Task) -> bool:
    """Whether a task holds its group: it is with its node, or nobody knows what became of it there."""
    return task.state is not TaskState.PENDING and not task.state.ended


def in_the_way(task: Task, tasks: Iterable[Task]) -> Task | None:
    """Of a group's tasks the one that keeps another one of it from being given out."""
    return next((other for other in tasks if other.id != task.id and holds(other)), None)


def run_holding(runs: Iterable[Run]) -> Run | None:
    """Of a group's runs the one that holds it."""
    return next((run for run in runs if run.begun), None)


def next_run(runs: Iterable[Run]) -> Run | None:
    """Of a group's runs the one whose turn it is: the oldest that waits, while none holds the group."""
    there = list(runs)
    if run_holding(there) is not None:
        return None
    waiting = [run for run in there if run.queued and run.cancel is None]
    return min(waiting, key=lambda run: (run.created_at, run.id), default=None)


def holders(
    run: Run, tasks: Sequence[Task], runs: Iterable[Run], tasks_in: Callable[[str], Sequence[Task]], now: float
) -> dict[str, str]:
    """Who keeps a run or its tasks waiting, by group, in words."""
    words: dict[str, str] = {}
    if run.queued:
        there = [other for other in runs if other.group == run.group and other.id != run.id]
        holder = run_holding(there)
        if holder is not None:
            since = format_duration(max(0, round(now - holder.started_at)))
            ahead = sum(1 for other in there if other.queued and other.created_at < run.created_at)
            words[run.group] = f"run {holder.id} of {holder.pipeline} has group {run.group!r}, since {since}" + (
                f", and {ahead} wait before it" if ahead else ""
            )
    for task in tasks:
        if task.group and task.state is TaskState.PENDING:
            other = in_the_way(task, tasks_in(task.group))
            if other is not None:
                since = format_duration(max(0, round(now - (other.started_at or other.created_at))))
                words[task.group] = (
                    f"run {other.run_id} has group {task.group!r} with its task on {other.node.name}, since {since}"
                )
    return words


def check_free(concurrency: Concurrency, runs: Sequence[Run], tasks: Sequence[Task]) -> None:
    """Raises STATE_CONFLICT where the rule is to reject, and others are in the groups."""
    if concurrency.on_conflict is not OnConflict.REJECT or not (runs or tasks):
        return
    if runs:
        said = f"run {runs[0].id} has its group {runs[0].group!r}"
        details = {"run": runs[0].id, "group": runs[0].group}
    else:
        taken = [f"{task.group!r} by run {task.run_id} on {task.node.name}" for task in tasks]
        said = f"groups of its tasks are taken: {listed(taken, 8)}"
        details = {"run": tasks[0].run_id, "group": tasks[0].group}
    raise GameNodeError(Code.STATE_CONFLICT, f"the run is not made: {said}", details=details)


def made_room(run_id: str, pipeline: str, now: float) -> CancelInfo:
    """Why what held a group before is cancelled."""
    return CancelInfo(by=f"run:{run_id}", reason=f"run {run_id} of {pipeline} takes its place", at=now)
