"""The events of the task machine as messages: what the agent's outbox holds and a run is replayed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never, cast

from gamenode_pipelines.errors import Code, GameNodeError
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
    TaskEventBody,
    TaskLost,
    TaskRefused,
    TaskResolved,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_proto.codec.errors import error_from_proto, error_to_proto
from gamenode_proto.codec.parts import (
    cancel_from_proto,
    cancel_to_proto,
    log_summary_from_proto,
    log_summary_to_proto,
)
from gamenode_proto.v1 import work_pb2


def task_event_to_proto(event: TaskEvent) -> work_pb2.TaskEvent:
    """An event of a task as a message."""
    message = work_pb2.TaskEvent(task_id=event.task_id, fence=event.fence, at=event.at)
    body = event.body
    match body:
        case TaskAssigned():
            message.assigned.SetInParent()
        case TaskAccepted():
            message.accepted.SetInParent()
        case TaskStarted():
            message.started.SetInParent()
        case StepStarted(step_id=step_id, attempt=attempt):
            started = message.step_started
            started.step_id, started.attempt = step_id, attempt
        case StepEnded():
            _step_ended_to_proto(body, message.step_ended)
        case StepLost(step_id=step_id, attempt=attempt, reason=reason, log=log):
            lost = message.step_lost
            lost.step_id, lost.attempt, lost.reason = step_id, attempt, reason
            if log is not None:
                lost.log.CopyFrom(log_summary_to_proto(log))
        case RetryDue(step_id=step_id, attempt=attempt):
            due = message.retry_due
            due.step_id, due.attempt = step_id, attempt
        case TaskRefused(error=error):
            message.refused.error.CopyFrom(error_to_proto(error))
        case CancelRequested(cancel=cancel):
            message.cancel_requested.cancel.CopyFrom(cancel_to_proto(cancel))
        case CancelWanted(cancel=cancel):
            message.cancel_wanted.cancel.CopyFrom(cancel_to_proto(cancel))
        case TaskTimedOut():
            message.timed_out.SetInParent()
        case FinallyTimedOut():
            message.finally_timed_out.SetInParent()
        case TaskLost(reason=reason, gone=gone):
            message.lost.SetInParent()
            message.lost.reason, message.lost.gone = reason, gone
        case TaskResolved(as_=as_, by=by, reason=reason):
            resolved = message.resolved
            setattr(resolved, "as", as_)
            resolved.by, resolved.reason = by, reason
        case TaskSkipped(reason=reason):
            message.skipped.SetInParent()
            message.skipped.reason = reason
        case _:
            assert_never(body)
    return message


def _step_ended_to_proto(body: StepEnded, message: work_pb2.StepEnded) -> None:
    message.step_id, message.attempt, message.jitter = body.step_id, body.attempt, body.jitter
    if body.exit_code is not None:
        message.exit_code = body.exit_code
    if body.error is not None:
        message.error.CopyFrom(error_to_proto(body.error))
    if body.outputs:
        message.outputs.update(body.outputs)
    if body.log is not None:
        message.log.CopyFrom(log_summary_to_proto(body.log))


def task_event_from_proto(message: work_pb2.TaskEvent) -> TaskEvent:
    """The event in a message; PROTOCOL_ERROR for a kind of event this version does not know."""
    kind = message.WhichOneof("body")
    if kind is None:
        raise GameNodeError(Code.PROTOCOL_ERROR, f"an event of task {message.task_id} of no kind this version knows")
    return TaskEvent(message.task_id, message.fence, message.at, _BODIES[kind](getattr(message, kind)))


def _step_ended(message: work_pb2.StepEnded) -> StepEnded:
    return StepEnded(
        message.step_id,
        message.attempt,
        message.exit_code if message.HasField("exit_code") else None,
        error_from_proto(message.error) if message.HasField("error") else None,
        dict(message.outputs),
        log_summary_from_proto(message.log) if message.HasField("log") else None,
        message.jitter,
    )


def _step_lost(message: work_pb2.StepLost) -> StepLost:
    log = log_summary_from_proto(message.log) if message.HasField("log") else None
    return StepLost(message.step_id, message.attempt, message.reason, log)


_RESOLUTIONS: Final = ("succeeded", "failed", "retry")


def _resolved(message: work_pb2.TaskResolved) -> TaskResolved:
    as_ = getattr(message, "as")
    if as_ not in _RESOLUTIONS:
        raise GameNodeError(Code.PROTOCOL_ERROR, f"a task cannot be resolved as {as_!r}")
    return TaskResolved(cast("Any", as_), message.by, message.reason)


_BODIES: Final[Mapping[str, Callable[[Any], TaskEventBody]]] = {
    "assigned": lambda _: TaskAssigned(),
    "accepted": lambda _: TaskAccepted(),
    "refused": lambda m: TaskRefused(error_from_proto(m.error)),
    "started": lambda _: TaskStarted(),
    "step_started": lambda m: StepStarted(m.step_id, m.attempt),
    "step_ended": _step_ended,
    "cancel_wanted": lambda m: CancelWanted(cancel_from_proto(m.cancel)),
    "step_lost": _step_lost,
    "retry_due": lambda m: RetryDue(m.step_id, m.attempt),
    "cancel_requested": lambda m: CancelRequested(cancel_from_proto(m.cancel)),
    "timed_out": lambda _: TaskTimedOut(),
    "finally_timed_out": lambda _: FinallyTimedOut(),
    "lost": lambda m: TaskLost(m.reason, m.gone),
    "resolved": _resolved,
    "skipped": lambda m: TaskSkipped(m.reason),
}
