"""Runs, tasks, steps and what is said of them as documents."""

from __future__ import annotations

from collections.abc import Iterable

from gamenode_console import words
from gamenode_console.documents import Document, cancel, error
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2, work_pb2


def run(message: work_pb2.Run) -> Document:
    """A run without its tasks, as `run ls` gives it."""
    return {
        "id": message.id,
        "pipeline": message.pipeline,
        "version": message.pipeline_version,
        "state": words.run_state(message.state),
        "error": error(message.error),
        "params": {name: words.value(v) for name, v in sorted(message.params.items())},
        "note": message.note,
        "target": message.target,
        "retry_of": message.retry_of or None,
        "created_at": words.time(message.created_at),
        "started_at": words.time(message.started_at),
        "finished_at": words.time(message.finished_at),
        "created_by": message.created_by,
        "cancel": cancel(message.cancel),
        "rollout": rollout(message.rollout),
        "next_at": words.time(message.next_at),
        "paused": _said(message.hold) if message.HasField("hold") else None,
        "group": message.group or message.concurrency.group or None,
        "queued": message.queued,
        "approval": _approval(message),
        "decisions": [
            {"step": key.partition("@")[0], "node_id": key.partition("@")[2] or None, **_decision(decision)}
            for key, decision in sorted(message.decisions.items())
        ],
        "total": message.total,
        "counts": dict(sorted(message.counts.items())),
    }


def rollout(message: work_pb2.Rollout) -> Document:
    """How a run moves over its nodes; `null` for what has no limit."""
    return {
        "max_parallel": message.max_parallel or None,
        "max_failures": message.max_failures or None,
        "canary": message.canary or None,
        "pause": message.pause,
        "order": message.order or "name",
    }


def _said(message: work_pb2.Hold | work_pb2.Decision) -> Document:
    return {"by": message.by, "reason": message.reason, "at": words.time(message.at)}


def _decision(message: work_pb2.Decision) -> Document:
    return {"approved": message.approved, **_said(message)}


def _approval(message: work_pb2.Run) -> Document | None:
    """What must be approved before the run begins, and what was said; `null` where nothing must."""
    if not message.HasField("approval"):
        return None
    decision = _decision(message.decision) if message.HasField("decision") else None
    return {"by": message.approval.by, "message": message.approval.message, "decision": decision}


LogKey = tuple[str, int, str, int]


def _log_key(ref: common_pb2.AttemptRef) -> LogKey:
    return (ref.task_id, ref.fence, ref.step_id, ref.attempt)


def _log(step: work_pb2.StepStatus, status: pipeline_management_pb2.LogStatus | None) -> Document:
    """How much of the newest attempt's log the server has, and whether that is all of it."""
    if status is not None:
        holes = [{"offset": h.offset, "length": h.length, "reason": h.reason} for h in status.holes]
        return {
            "lines": status.lines,
            "bytes": status.bytes,
            "complete": status.complete,
            "sha256": status.sha256 or None,
            "holes": holes,
        }
    # Nothing was written, or nothing has arrived: a step that never started misses nothing when it is over.
    ended = words.step_state(step.state) in ("succeeded", "failed", "cancelled", "skipped", "lost")
    nothing_written = not step.attempt or (step.HasField("log") and step.log.bytes == 0 and not step.log.holes)
    return {
        "lines": 0,
        "bytes": 0,
        "complete": ended and nothing_written,
        "sha256": step.log.sha256 or None if nothing_written else None,
        "holes": [],
    }


def step(message: work_pb2.StepStatus, status: pipeline_management_pb2.LogStatus | None = None) -> Document:
    """A step as it stands."""
    return {
        "id": message.id,
        "state": words.step_state(message.state),
        "attempt": message.attempt,
        "exit_code": message.exit_code if message.HasField("exit_code") else None,
        "error": error(message.error),
        "outputs": dict(sorted(message.outputs.items())),
        "started_at": words.time(message.started_at),
        "finished_at": words.time(message.finished_at),
        "retry_at": words.time(message.retry_at),
        "final": message.final,
        "log": _log(message, status),
    }


def task(message: work_pb2.Task, logs: dict[LogKey, pipeline_management_pb2.LogStatus] | None = None) -> Document:
    """A run's share on one node, with its steps."""
    known = logs or {}
    return {
        "id": message.id,
        "node_id": message.node.id,
        "node": message.node.name,
        "state": words.task_state(message.state),
        "error": error(message.error),
        "fence": message.fence,
        "created_at": words.time(message.created_at),
        "started_at": words.time(message.started_at),
        "finished_at": words.time(message.finished_at),
        "cancel": cancel(message.cancel),
        "group": message.group or None,
        "steps": [step(s, known.get((message.id, message.fence, s.id, s.attempt))) for s in message.steps],
    }


def run_document(message: pipeline_management_pb2.RunDocument) -> Document:
    """A run with its tasks and their steps, as `run show` gives it."""
    logs = {_log_key(status.ref): status for status in message.logs}
    return {**run(message.run), "tasks": [task(t, logs) for t in _ordered(message.tasks)]}


def _ordered(tasks: Iterable[work_pb2.Task]) -> list[work_pb2.Task]:
    return sorted(tasks, key=lambda t: (t.position, t.id))


def run_update(message: pipeline_management_pb2.RunUpdate) -> Document:
    """One change of a watched run: the run, and the tasks that changed."""
    logs = {_log_key(status.ref): status for status in message.logs}
    return {
        "cursor": str(message.cursor),
        "run": run(message.run),
        "tasks": [task(t, logs) for t in _ordered(message.tasks)],
        "ended": message.ended,
    }


def explanation(message: pipeline_management_pb2.ExplainRunResponse) -> Document:
    """Why a run does not move."""
    return {
        "summary": message.summary,
        "tasks": [{"task_id": t.task_id, "node": t.node, "text": t.text} for t in message.tasks],
    }
