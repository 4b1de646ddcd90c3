"""What an event is called: dotted and past tense, derived from what it was and what it changed. Pure."""

from __future__ import annotations

from typing import assert_never

from gamenode_pipelines.effects import Ignored
from gamenode_pipelines.events import (
    CancelRequested,
    CancelWanted,
    FinallyTimedOut,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskEvent,
    TaskLost,
    TaskRefused,
    TaskResolved,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, StepState, TaskState
from gamenode_pipelines.tasks import Task
from gamenode_server.records import NewEvent

#: An event that changed nothing: late, repeated, or of an old fence.
IGNORED = "task.event_ignored"

#: Task states that get an event of their own besides the one that caused them.
_NEWS = frozenset(
    {
        TaskState.CANCELLING,
        TaskState.LOST,
        TaskState.NEEDS_ATTENTION,
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.CANCELLED,
    }
)

_RUN_NEWS = {
    RunState.PENDING: "run.pending",
    RunState.RUNNING: "run.resumed",
    RunState.PAUSED: "run.paused",
    RunState.WAITING: "run.waited",
    RunState.CANCELLING: "run.cancelling",
    RunState.NEEDS_ATTENTION: "run.needs_attention",
    RunState.SUCCEEDED: "run.succeeded",
    RunState.FAILED: "run.failed",
    RunState.CANCELLED: "run.cancelled",
}


def cause(new: Task, event: TaskEvent, ignored: Ignored | None, *, actor: str = "", time: float = 0.0) -> NewEvent:
    """The stored form of one event of a task; carries the event itself, so that the task can be replayed."""
    body = event.body
    step_id = ""
    data: dict[str, str] = {}
    match body:
        case TaskAssigned():
            kind = "task.assigned"
        case TaskAccepted():
            kind = "task.accepted"
        case TaskRefused(error=error):
            kind = "task.refused"
            data = {"error": error.code, "message": error.message}
        case TaskStarted():
            kind = "task.started"
        case StepStarted(step_id=step_id, attempt=attempt):
            kind = "step.started"
            data = {"attempt": str(attempt)}
        case StepEnded(step_id=step_id, attempt=attempt):
            kind, data = _step_end(new, step_id, attempt, body)
        case StepLost(step_id=step_id, attempt=attempt, reason=reason):
            kind = "step.lost"
            data = {"attempt": str(attempt), "reason": reason}
        case RetryDue(step_id=step_id, attempt=attempt):
            kind = "step.retried"
            data = {"attempt": str(attempt)}
        case CancelRequested(cancel=cancel):
            kind = "task.cancel_requested"
            data = {"by": cancel.by, "reason": cancel.reason}
        case CancelWanted(cancel=cancel):
            kind = "task.cancel_wanted"
            data = {"by": cancel.by, "reason": cancel.reason}
        case TaskTimedOut():
            kind = "task.timed_out"
        case FinallyTimedOut():
            kind = "task.finally_timed_out"
        case TaskLost(reason=reason):
            kind = "task.contact_lost"
            data = {"reason": reason}
        case TaskResolved(as_=as_, by=by, reason=reason):
            kind = "task.resolved"
            data = {"as": as_, "by": by, "reason": reason}
        case TaskSkipped(reason=reason):
            kind = "task.skipped"
            data = {"reason": reason}
        case _:
            assert_never(body)
    if ignored is not None:
        data = {**data, "ignored": ignored.reason, "was": kind}
        kind = IGNORED
    return NewEvent(
        type=kind,
        node_id=new.node.id,
        run_id=new.run_id,
        task_id=new.id,
        step_id=step_id,
        fence=event.fence,
        actor=actor,
        data=data,
        task_event=event,
        time=time,
    )


def _step_end(new: Task, step_id: str, attempt: int, body: StepEnded) -> tuple[str, dict[str, str]]:
    data = {"attempt": str(attempt)}
    if body.exit_code is not None:
        data["exit_code"] = str(body.exit_code)
    step = new.steps.get(step_id)
    error = body.error or (step.error if step is not None else None)
    if error is not None:
        data["error"] = error.code
        data["message"] = error.message
    if step is None:
        return "step.ended", data
    match step.state:
        case StepState.WAITING:
            return "step.attempt_failed", data
        case StepState.PENDING | StepState.RUNNING:
            return "step.ended", data
        case _:
            return f"step.{step.state}", data


def consequences(old: Task, new: Task, *, actor: str = "", time: float = 0.0) -> list[NewEvent]:
    """What else the change means: steps that are skipped now, and the task's new state where it is news."""
    if new is old:
        return []
    events: list[NewEvent] = []
    if new.steps is not old.steps:
        for step_id, step in new.steps.items():
            before = old.steps.get(step_id)
            if (
                step is not before
                and step.state is StepState.SKIPPED
                and (before is None or before.state is not StepState.SKIPPED)
            ):
                events.append(_about(new, "step.skipped", step_id=step_id, time=time))
    if new.state is not old.state and new.state in _NEWS:
        data = {} if new.error is None else {"error": str(new.error.code), "message": new.error.message}
        events.append(_about(new, f"task.{new.state}", data=data, actor=actor, time=time))
    return events


def run_changed(old: Run | None, new: Run, *, actor: str = "") -> list[NewEvent]:
    """What a run's new state is called; empty where it is the old one."""
    if old is None:
        data = {"pipeline": new.pipeline, "note": new.note}
        if new.retry_of:
            data["retry_of"] = new.retry_of
        return [NewEvent(type="run.created", run_id=new.id, actor=actor, data=data)]
    said = _said(old, new, actor)
    if old.state is new.state:
        return said
    kind = "run.started" if new.begun and not old.begun and not new.state.ended else _RUN_NEWS[new.state]
    if said and kind in (said[-1].type, "run.pending", "run.resumed"):
        return said  # said already, in better words
    data = {"pipeline": new.pipeline}
    if new.error is not None and new.state.ended:
        data["error"] = new.error.code
        data["message"] = new.error.message
    return [*said, NewEvent(type=kind, run_id=new.id, actor=actor, data=data)]


def _said(old: Run, new: Run, actor: str) -> list[NewEvent]:
    """What people and other runs did to a run, whether or not it is called something else since."""
    said: list[NewEvent] = []

    def add(kind: str, **data: str) -> None:
        said.append(NewEvent(type=kind, run_id=new.id, actor=actor, data={"pipeline": new.pipeline, **data}))

    if new.decision is not None and old.decision is None:
        add("run.approved" if new.decision.approved else "run.rejected", reason=new.decision.reason)
    for key in new.decisions.keys() - old.decisions.keys():
        step_id, _, node_id = key.partition("@")
        given = new.decisions[key]
        kind = "step.approved" if given.approved else "step.rejected"
        data = {"by": given.by, "reason": given.reason}
        said.append(NewEvent(type=kind, run_id=new.id, step_id=step_id, node_id=node_id, actor=actor, data=data))
    if new.queued and not old.queued:
        add("run.queued", group=new.group)
    if new.hold is not None and old.hold is None:
        add("run.paused", reason=new.hold.reason)
    if new.hold is None and old.hold is not None and not new.state.ended:
        add("run.resumed")
    return said


def _about(
    task: Task, kind: str, *, step_id: str = "", data: dict[str, str] | None = None, actor: str = "", time: float = 0.0
) -> NewEvent:
    return NewEvent(
        type=kind,
        node_id=task.node.id,
        run_id=task.run_id,
        task_id=task.id,
        step_id=step_id,
        fence=task.fence,
        actor=actor,
        data=data or {},
        time=time,
    )
