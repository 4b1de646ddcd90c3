"""The run machine: how a run moves as its tasks do. Its input is "this task changed", never the list of tasks.

Every event costs the same, however many tasks there are. A task that needs attention keeps its place among the
`max_parallel`: a rollout does not walk on past a node that nobody knows the state of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from gamenode_pipelines.effects import CancelTasks, FinishRun, Ignored, RunEffect, SkipPendingTasks, StartTasks
from gamenode_pipelines.errors import Code, Error, IllegalTransition
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.states import RunState, TaskState


@dataclass(frozen=True, slots=True)
class Run:
    """One trigger of a pipeline. `counts` has the number of tasks in each state that occurs."""

    id: str
    pipeline: str
    pipeline_version: int
    total: int
    state: RunState = RunState.PENDING
    error: Error | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    created_by: str = ""
    bundle_digest: str = ""
    cancel: CancelInfo | None = None
    counts: Mapping[TaskState, int] = field(default_factory=dict)
    max_parallel: int = 0
    max_failures: int = 1
    target: str = ""
    #: Tasks taken from pending so far, in order of their position.
    started: int = 0
    #: The run that this one repeats.
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """The run and its pending tasks are stored."""


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """One task went from one state to another."""

    old: TaskState
    new: TaskState


@dataclass(frozen=True, slots=True)
class RunCancelRequested:
    """Somebody wants the run to end."""

    cancel: CancelInfo


RunEvent = RunCreated | TaskChanged | RunCancelRequested


def step(run: Run, event: RunEvent, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    """Folds one event into a run in constant time.

    Raises IllegalTransition, changing nothing, for an event that cannot happen in this state.
    """
    match event:
        case TaskChanged(old=old, new=new):
            return _task_changed(run, old, new, now)
        case RunCreated():
            return _created(run, now)
        case RunCancelRequested(cancel=cancel):
            return _cancel_requested(run, cancel)
        case _:
            assert_never(event)


def stops_starting(run: Run) -> bool:
    """Whether no further task of the run may start: it is being cancelled, has ended, or too many have failed."""
    if run.cancel is not None or run.state.ended:
        return True
    return 0 < run.max_failures <= run.counts.get(TaskState.FAILED, 0)


def _created(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state is not RunState.PENDING or run.started:
        return run, (Ignored("repeated: the run has begun"),)
    if run.total == 0:
        ended = replace(run, state=RunState.SUCCEEDED, started_at=now, finished_at=now)
        return ended, (FinishRun(),)
    count = min(run.max_parallel, run.total) if run.max_parallel > 0 else run.total
    begun = replace(run, state=RunState.RUNNING, started_at=now, counts={TaskState.PENDING: run.total}, started=count)
    return begun, (StartTasks(count),)


def _task_changed(run: Run, old: TaskState, new: TaskState, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state is RunState.PENDING or run.state.ended:
        raise IllegalTransition(f"a task of run {run.id} went from {old} to {new}, and the run is {run.state}")
    if old is new:
        return run, (Ignored(f"the task is {new} as before"),)
    counts = dict(run.counts)
    left = counts.get(old, 0) - 1
    if left < 0:
        raise IllegalTransition(f"a task of run {run.id} went from {old} to {new}, and none was {old}")
    if left:
        counts[old] = left
    else:
        del counts[old]
    counts[new] = counts.get(new, 0) + 1

    ended = sum(counts.get(state, 0) for state in _ENDS)
    if ended == run.total:
        state, error = _end(run, counts)
        return replace(run, state=state, error=error, finished_at=now, counts=counts), (FinishRun(),)

    started = run.started
    effects: tuple[RunEffect, ...] = ()
    if run.cancel is None:
        failed = counts.get(TaskState.FAILED, 0)
        if 0 < run.max_failures <= failed:
            if new is TaskState.FAILED and failed == run.max_failures and TaskState.PENDING in counts:
                effects = (SkipPendingTasks(),)
        elif started < run.total:
            # Before anything is skipped or cancelled only tasks that were started can have ended.
            room = run.total if run.max_parallel <= 0 else run.max_parallel - (started - ended)
            count = min(room, run.total - started)
            if count > 0:
                started += count
                effects = (StartTasks(count),)
    stuck = counts.get(TaskState.NEEDS_ATTENTION, 0)
    state = RunState.RUNNING if run.cancel is None else RunState.CANCELLING
    if stuck and not effects and _only_a_person_moves(run, counts, started, ended, stuck):
        state = RunState.NEEDS_ATTENTION
    return replace(run, state=state, counts=counts, started=started), effects


def _only_a_person_moves(run: Run, counts: Mapping[TaskState, int], started: int, ended: int, stuck: int) -> bool:
    """Whether every task that was started and has not ended needs attention, and no pending one is about to end."""
    pending = counts.get(TaskState.PENDING, 0)
    if run.cancel is not None or stops_starting(replace(run, counts=counts)):
        return stuck + ended == run.total  # those still pending are being ended
    return pending == run.total - started and stuck + pending + ended == run.total


def _end(run: Run, counts: Mapping[TaskState, int]) -> tuple[RunState, Error | None]:
    if counts.get(TaskState.SUCCEEDED, 0) == run.total:
        return RunState.SUCCEEDED, None
    cancelled = counts.get(TaskState.CANCELLED, 0)
    if run.cancel is not None and cancelled:
        cancel = run.cancel
        why = f": {cancel.reason}" if cancel.reason else ""
        return RunState.CANCELLED, Error(Code.CANCELLED, f"cancelled by {cancel.by or 'somebody'}{why}")
    failed = counts.get(TaskState.FAILED, 0)
    skipped = counts.get(TaskState.SKIPPED, 0)
    if run.total == 1:
        message = "its task failed" if failed else "its task did not run"
    else:
        message = f"{failed} of {run.total} tasks failed"
        for count, word in ((cancelled, "cancelled"), (skipped, "skipped")):
            if count:
                message += f", {count} {word}"
    details = {"failed": str(failed), "skipped": str(skipped), "total": str(run.total)}
    return RunState.FAILED, Error(Code.TASK_FAILED, message, details)


def _cancel_requested(run: Run, cancel: CancelInfo) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state.ended:
        return run, (Ignored(f"the run has ended: {run.state}"),)
    before = run.cancel
    if before is not None and before == cancel:
        return run, (Ignored("repeated: this cancel has been taken"),)
    stuck = run.state is RunState.NEEDS_ATTENTION
    if before is not None and not cancel.force and not stuck:
        return run, (Ignored("the run is being cancelled"),)
    # Tasks that only a person can move stay so until one of them does move: their node may be out of reach.
    still_stuck = stuck and TaskState.PENDING not in run.counts
    state = RunState.NEEDS_ATTENTION if still_stuck else RunState.CANCELLING
    return replace(run, state=state, cancel=cancel), (CancelTasks(),)


_ENDS = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)
