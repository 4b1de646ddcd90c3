"""Pipelines, their parameters, problems and compiled plans as documents."""

from __future__ import annotations

from typing import Any

from gamenode_console import words
from gamenode_console.documents import Document, runs
from gamenode_proto.v1 import pipeline_management_pb2, plan_pb2


def pipeline(message: pipeline_management_pb2.Pipeline) -> Document:
    """A stored version of a pipeline, without its text."""
    return {
        "name": message.name,
        "version": message.version,
        "description": message.description,
        "created_at": words.time(message.created_at),
        "created_by": message.created_by,
        "sha256": message.sha256,
        "shipped": message.shipped,
        "removed": message.removed,
        "files": [
            {"path": file.path, "size": file.size, "mode": f"{file.mode:o}", "sha256": file.sha256}
            for file in message.files
        ],
    }


def pipeline_summary(message: pipeline_management_pb2.PipelineSummary) -> Document:
    """A pipeline and its newest run (null where there was none), as `pipeline ls` gives it."""
    last = runs.run(message.last_run) if message.last_run.id else None
    return {**pipeline(message.pipeline), "last_run": last}


def parameter(message: pipeline_management_pb2.Parameter) -> Document:
    """A parameter as a form needs it."""
    return {
        "name": message.name,
        "type": message.type,
        "description": message.description,
        "required": message.required,
        "default": words.value(message.default),
        "choices": list(message.choices),
        "min": message.min if message.HasField("min") else None,
        "max": message.max if message.HasField("max") else None,
        "pattern": message.pattern or None,
    }


def pipeline_document(message: pipeline_management_pb2.GetPipelineResponse) -> Document:
    """A pipeline with its parameters and its text, as `pipeline show` gives it."""
    return {
        **pipeline(message.pipeline),
        "parameters": [parameter(p) for p in message.parameters],
        "text": message.pipeline.text,
    }


def problem(message: pipeline_management_pb2.Problem) -> Document:
    """One thing wrong with a pipeline file."""
    return {
        "file": message.file,
        "line": message.line,
        "column": message.column,
        "message": message.message,
        "suggestion": message.suggestion or None,
        "warning": message.warning,
    }


def applied(message: pipeline_management_pb2.ApplyPipelinesResponse) -> Document:
    """What `pipeline apply` did, or would do."""
    return {
        "applied": [{"name": a.name, "version": a.version, "result": a.result} for a in message.applied],
        "problems": [problem(p) for p in message.problems],
    }


def _script(message: plan_pb2.Script) -> Document:
    return {
        "shell": message.shell,
        "text": message.text,
        "argv": list(message.argv),
        "bindings": {b.name: b.expression for b in message.bindings},
    }


def _setting(message: plan_pb2.Setting) -> Any:
    """A value of a step's `with`: what the file says, with its parameters' types."""
    match message.WhichOneof("kind"):
        case "list":
            return [_setting(item) for item in message.list.items]
        case "map":
            return {entry.key: _setting(entry.value) for entry in message.map.entries}
        case _:
            return words.value(message.value)


def _step_plan(message: plan_pb2.StepPlan) -> Document:
    """A compiled step, without what is not set."""
    limits = {
        name: figure
        for name in ("cpus", "memory", "pids", "file_size", "open_files", "output")
        if (figure := getattr(message.limits, name))
    }
    document: Document = {
        "id": message.id,
        "kind": message.kind,
        "needs": list(message.needs),
        "if": message.condition,
        "script": _script(message.script) if message.HasField("script") else None,
        "with": {entry.key: _setting(entry.value) for entry in getattr(message, "with").entries},
        "env": dict(message.env),
        "workdir": message.workdir,
        "user": message.user,
        "limits": limits,
        "timeout": message.timeout,
        "retry": None,
        "stop": None,
        "idempotent": message.idempotent,
        "continue_on_error": message.continue_on_error,
        "group": message.group or None,
        "after_failure": message.after_failure or None,
    }
    if message.retry.attempts > 1:
        retry = message.retry
        document["retry"] = {
            "attempts": retry.attempts,
            "backoff": retry.backoff,
            "max_backoff": retry.max_backoff,
            "on": list(retry.on),
        }
    if message.HasField("stop"):
        command = _script(message.stop.command) if message.stop.HasField("command") else None
        document["stop"] = {"signal": message.stop.signal, "grace": message.stop.grace, "command": command}
    return document


def _inlined(message: plan_pb2.Inlined) -> Document:
    """A pipeline that stands in this one, and with what."""
    return {
        "step": message.step,
        "pipeline": message.pipeline,
        "version": message.version,
        "params": {argument.name: words.value(argument.value) for argument in message.arguments},
        "env": {**message.env, **message.given_env},
    }


def plan(message: plan_pb2.Plan) -> Document:
    """A compiled pipeline."""
    return {
        "pipeline": message.pipeline,
        "version": message.version,
        "params": {name: words.value(v) for name, v in sorted(message.params.items())},
        "env": dict(message.env),
        "timeout": message.timeout,
        "finally_timeout": message.finally_timeout,
        "on_lost": plan_pb2.OnLost.Name(message.on_lost).removeprefix("ON_LOST_").lower(),
        "steps": [_step_plan(s) for s in message.steps],
        "finally": [_step_plan(s) for s in getattr(message, "finally")],
        "inlined": [_inlined(i) for i in message.inlined],
    }


def rendered(message: pipeline_management_pb2.RenderPipelineResponse) -> Document:
    """What would run, and where."""
    return {
        "plan": plan(message.plan),
        "nodes": [
            {"node_id": c.node_id, "node": c.node, "chosen": c.chosen, "reason": c.reason} for c in message.nodes
        ],
        "bundle_digest": message.bundle_digest,
        "order": list(message.order),
        "rollout": runs.rollout(message.rollout),
        "approval": {"by": message.approval.by, "message": message.approval.message}
        if message.HasField("approval")
        else None,
        "waits": list(message.waits),
        "usual_seconds": message.usual if message.usual_of else None,
        "usual_of": message.usual_of,
        "steps": [
            {"id": step.id, "kind": step.kind, "text": step.text, "skipped_on": list(step.skipped_on)}
            for step in message.steps
        ],
    }


def schedule(message: pipeline_management_pb2.Schedule) -> Document:
    """A schedule of a pipeline, as `schedule ls` gives it."""
    state = "paused" if message.paused_by else "active" if message.enabled else "disabled"
    return {
        "name": f"{message.pipeline}/{message.id}",
        "pipeline": message.pipeline,
        "id": message.id,
        "state": "failed" if state == "active" and message.last_error else state,
        "cron": message.cron,
        "timezone": message.timezone,
        "catch_up": message.catch_up,
        "on_overlap": message.on_overlap,
        "params": dict(message.params),
        "paused_by": message.paused_by or None,
        "paused_reason": message.paused_reason or None,
        "next": [words.time(time) for time in message.next],
        "waiting": [words.time(time) for time in message.waiting],
        "last_time": words.time(message.last_time),
        "last_run": message.last_run or None,
        "last_error": message.last_error or None,
    }
