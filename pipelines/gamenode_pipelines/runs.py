"""The run machine: how a run moves as its tasks do. Its input is "this task changed", never the list of tasks.

Every event costs the same, however many tasks there are. A task that needs attention keeps its place among the
`max_parallel`: a rollout does not walk on past a node that nobody knows the state of.

A run begins when all its tasks are stored, its approval is given and its group is free, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from gamenode_pipelines.effects import (
    AwaitTurn,
    CancelTasks,
    FinishRun,
    Ignored,
    RunEffect,
    SkipPendingTasks,
    StartTasks,
)
from gamenode_pipelines.errors import Code, Error, IllegalTransition
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.gates import Approval, Concurrency, Decision, Hold
from gamenode_pipelines.placement import ANYTHING, Requires
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.rollout import NO_LIMIT, Rollout
from gamenode_pipelines.run_events import (
    PauseOver,
    RunAdmitted,
    RunCancelRequested,
    RunCreated,
    RunDecided,
    RunEvent,
    RunPaused,
    RunResumed,
    StepDecided,
    TaskChanged,
)
from gamenode_pipelines.states import RunState, TaskState

__all__ = [
    "PauseOver",
    "Run",
    "RunAdmitted",
    "RunCancelRequested",
    "RunCreated",
    "RunDecided",
    "RunEvent",
    "RunPaused",
    "RunResumed",
    "StepDecided",
    "TaskChanged",
    "decided",
    "decision_key",
    "may_assign",
    "step",
    "stops_starting",
]


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
    rollout: Rollout = NO_LIMIT
    target: str = ""
    #: Tasks taken from pending so far, in order of their position.
    started: int = 0
    #: Positions, from `started` on, of tasks that have ended: another run took their place.
    cut: frozenset[int] = frozenset()
    #: The run that this one repeats.
    retry_of: str = ""
    #: No task starts before this time; 0 while nothing holds them up.
    next_at: float = 0.0
    hold: Hold | None = None
    approval: Approval | None = None
    decision: Decision | None = None
    concurrency: Concurrency | None = None
    #: The group that the run itself is in; empty where it has none, or where each of its tasks has one.
    group: str = ""
    #: Whether it waits for its turn in its group.
    queued: bool = False
    #: What is kept for each of its tasks on their nodes until it has ended.
    requires: Requires = ANYTHING
    #: What was said of its steps that wait for an approval (`decision_key`).
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    #: The pipelines whose runs have led to it, by triggers, the first one first.
    chain: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether its first task could start: since then it holds its group."""
        return self.started_at > 0


def step(run: Run, event: RunEvent, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    """Folds one event into a run in constant time.

    Raises IllegalTransition, changing nothing, for an event that cannot happen in this state.
    """
    match event:
        case TaskChanged():
            return _task_changed(run, event, now)
        case RunCreated():
            return _created(run, now)
        case RunCancelRequested(cancel=cancel):
            return _cancel_requested(run, cancel)
        case RunDecided(decision=decision):
            return _decided(run, decision, now)
        case StepDecided(key=key, decision=decision):
            if key in run.decisions:
                return run, (Ignored(f"{run.decisions[key].by} has decided"),)
            return replace(run, decisions={**run.decisions, key: decision}), ()
        case RunAdmitted():
            return _admitted(run, now)
        case RunPaused(hold=hold):
            return _paused(run, hold)
        case RunResumed():
            return _resumed(run, now)
        case PauseOver():
            return _pause_over(run, now)
        case _:
            assert_never(event)


def decision_key(step_id: str, node_id: str = "") -> str:
    """What a decision about a step is kept under; `node_id` where each node is asked for."""
    return f"{step_id}@{node_id}" if node_id else step_id


def decided(run: Run, step_id: str, node_id: str) -> Decision | None:
    """What was said of a step, for the task on a node."""
    return run.decisions.get(step_id) or run.decisions.get(decision_key(step_id, node_id))


def stops_starting(run: Run) -> str:
    """Why no further task of the run may start, for good; empty while one may."""
    if run.cancel is not None:
        return "the run is being cancelled"
    if run.state.ended:
        return "the run has ended"
    if run.decision is not None and not run.decision.approved:
        return f"rejected by {run.decision.by}"
    failed = run.counts.get(TaskState.FAILED, 0)
    if _in_canary(run) and _started_and_ended(run) > run.counts.get(TaskState.SUCCEEDED, 0):
        how = f"{failed} of {run.rollout.canary} failed" if failed else "not all of it ran to its end"
        return f"the run stopped with its canary: {how}"
    if 0 < run.rollout.max_failures <= failed:
        return f"the run stopped starting tasks after {failed} failure(s)"
    return ""


def may_assign(run: Run) -> bool:
    """Whether tasks that were started can be given to their nodes now."""
    return run.hold is None and not stops_starting(run)


def _created(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state is not RunState.PENDING or run.queued or run.started:
        return run, (Ignored("repeated: the run has begun"),)
    if run.total == 0:
        ended = replace(run, state=RunState.SUCCEEDED, started_at=now, finished_at=now)
        return ended, (FinishRun(),)
    if sum(run.counts.values()) != run.total:
        run = replace(run, counts={TaskState.PENDING: run.total})
    if _ended(run) == run.total:
        return _over(run, now)
    if run.approval is not None and run.decision is None:
        return replace(run, state=RunState.WAITING), ()
    return _queue_or_begin(run, now)


def _queue_or_begin(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.group:
        return replace(run, state=RunState.PENDING, queued=True), (AwaitTurn(),)
    return _begin(run, now)


def _begin(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    run, effects = _start(replace(run, started_at=now), now)
    return replace(run, state=_standing(run)), effects


def _decided(run: Run, decision: Decision, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state is not RunState.WAITING:
        raise IllegalTransition(f"run {run.id} waits for no approval: it is {run.state}")
    decided = replace(run, decision=decision)
    if decision.approved:
        return _queue_or_begin(decided, now)
    return replace(decided, state=RunState.CANCELLING), (SkipPendingTasks(stops_starting(decided)),)


def _admitted(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if not run.queued or run.cancel is not None:
        return run, (Ignored("the run does not wait for its turn"),)
    return _begin(replace(run, queued=False), now)


def _paused(run: Run, hold: Hold) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.state.ended or run.cancel is not None:
        raise IllegalTransition(f"run {run.id} cannot be paused: it is {run.state}")
    if run.hold is not None:
        return run, (Ignored(f"the run was paused by {run.hold.by}"),)
    if TaskState.PENDING not in run.counts:
        raise IllegalTransition(f"every task of run {run.id} has started: there is nothing to hold back")
    held = replace(run, hold=hold)
    return replace(held, state=_standing(held)), ()


def _resumed(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if run.hold is None:
        raise IllegalTransition(f"run {run.id} is not paused: it is {run.state}")
    on = replace(run, hold=None)
    if run.state.ended or run.cancel is not None:
        return on, ()
    on, _ = _start(on, now)
    # What was started before and not given out goes on as well.
    return replace(on, state=_standing(on)), (StartTasks(on.started),) if on.begun else ()


def _pause_over(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    if not run.next_at or run.next_at > now or run.state.ended:
        return run, (Ignored("the run waits for no time, or not until now"),)
    return _start(replace(run, next_at=0.0), now)


def _start(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    """Takes as many tasks from pending as may start now."""
    before = run.started
    # Those that were cut take no room: more may start once they are passed.
    while run.next_at <= now and (count := _room(run)) > 0:
        started = run.started + count
        run = replace(run, started=started, cut=frozenset(at for at in run.cut if at >= started))
    if run.started == before:
        return run, ()
    return replace(run, next_at=0.0), (StartTasks(run.started - before),)


def _room(run: Run) -> int:
    """How many tasks could start, the time aside."""
    if not run.begun or run.hold is not None or stops_starting(run):
        return 0
    ceiling = min(run.rollout.canary, run.total) if _in_canary(run) else run.total
    limit = run.rollout.max_parallel or run.total
    return min(limit - (run.started - _started_and_ended(run)), ceiling - run.started)


def _started_and_ended(run: Run) -> int:
    """How many of those that were started have ended, before anything is skipped."""
    return _ended(run) - len(run.cut)


def _in_canary(run: Run) -> bool:
    return run.counts.get(TaskState.SUCCEEDED, 0) < min(run.rollout.canary, run.total)


def _ended(run: Run) -> int:
    return sum(run.counts.get(state, 0) for state in _ENDS)


def _task_changed(run: Run, event: TaskChanged, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    old, new = event.old, event.new
    moving = bool(run.begun or run.cancel or run.decision) or (old, new) == (TaskState.PENDING, TaskState.CANCELLED)
    if not moving or run.state.ended:
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
    changed = replace(run, counts=counts)
    cut = new.ended and event.position >= run.started and not stops_starting(run)
    if cut:
        changed = replace(changed, cut=run.cut | {event.position})
    if _ended(changed) == run.total:
        return _over(changed, now)

    effects: tuple[RunEffect, ...] = ()
    why = stops_starting(changed)
    if not why:
        if new.ended and not cut and run.rollout.pause and changed.started < run.total:
            changed = replace(changed, next_at=now + run.rollout.pause)
        changed, effects = _start(changed, now)
    elif run.cancel is None and TaskState.PENDING in counts and not stops_starting(run):
        effects = (SkipPendingTasks(why),)
    return replace(changed, state=_standing(changed)), effects


def _over(run: Run, now: float) -> tuple[Run, tuple[RunEffect, ...]]:
    state, error = _end(run)
    over = replace(run, state=state, error=error, finished_at=now, hold=None, queued=False, next_at=0.0)
    return over, (FinishRun(),)


def _standing(run: Run) -> RunState:
    """What a run that has not ended is called."""
    stuck = run.counts.get(TaskState.NEEDS_ATTENTION, 0)
    if stuck and _only_a_person_moves(run, stuck):
        return RunState.NEEDS_ATTENTION
    if run.cancel is not None or (run.decision is not None and not run.decision.approved):
        return RunState.CANCELLING
    if not run.begun:
        return RunState.WAITING if run.approval is not None and run.decision is None else RunState.PENDING
    return RunState.RUNNING if run.hold is None else RunState.PAUSED


def _only_a_person_moves(run: Run, stuck: int) -> bool:
    """Whether every task that was started and has not ended needs attention, and no pending one is about to move."""
    ended, pending = _ended(run), run.counts.get(TaskState.PENDING, 0)
    if stops_starting(run):
        return stuck + ended == run.total  # those still pending are being ended
    return (
        pending == run.total - run.started - len(run.cut) and stuck + pending + ended == run.total and _room(run) <= 0
    )


def _end(run: Run) -> tuple[RunState, Error | None]:
    counts = run.counts
    if counts.get(TaskState.SUCCEEDED, 0) == run.total:
        return RunState.SUCCEEDED, None
    cancelled = counts.get(TaskState.CANCELLED, 0)
    if run.cancel is not None and cancelled:
        cancel = run.cancel
        return RunState.CANCELLED, Error(Code.CANCELLED, f"cancelled by {cancel.by or 'somebody'}{_why(cancel.reason)}")
    if run.decision is not None and not run.decision.approved:
        said = run.decision
        return RunState.FAILED, Error(Code.REJECTED, f"rejected by {said.by}{_why(said.reason)}")
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


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


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
    cancelled = replace(run, cancel=cancel)
    return replace(cancelled, state=_standing(cancelled)), (CancelTasks(),)


_ENDS = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)
