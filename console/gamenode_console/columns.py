"""The tables of the client: which columns each kind of document has. Pure data and small cell functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamenode_console import texts
from gamenode_console.tables import Column, Table, field, since

Document = Mapping[str, Any]


def _metric(key: str) -> Any:
    return lambda document: (document.get("metrics") or {}).get(key)


def _percent(key: str, title: str, name: str) -> Column:
    def cell(document: Document, now: float) -> str:
        figure = _metric(name)(document)
        return "-" if figure is None else f"{figure:.0f}%"

    return Column(key, title, cell, right=True, order=_metric(name))


def _rate(key: str, title: str, name: str) -> Column:
    def cell(document: Document, now: float) -> str:
        figure = _metric(name)(document)
        return "-" if figure is None else f"{texts.size(figure)}/s"

    return Column(key, title, cell, wide=True, right=True, order=_metric(name))


def _node_state(document: Document, now: float) -> str:
    admin = document["admin_state"]
    return str(document["state"]) if admin == "active" else f"{document['state']},{admin}"


def _containers(document: Document, now: float) -> str:
    """Those that run, of all there are; nothing where there is no engine."""
    metrics, engine = document["metrics"], document["engine"]
    if metrics is None or (engine is None and not metrics["containers_total"]):
        return "-"
    if engine is not None and not engine["available"]:
        return "no engine"
    return f"{metrics['containers_running']}/{metrics['containers_total']}"


NODES = Table(
    (
        field("name", "NAME"),
        Column("state", "STATE", _node_state, state=True),
        _percent("cpu", "CPU", "cpu_percent"),
        _percent("memory", "MEM", "memory_percent"),
        _percent("disk", "DISK", "disk_percent"),
        field("tasks", "TASKS", "tasks_running", right=True),
        Column("containers", "CONTAINERS", _containers, right=True, order=_metric("containers_running"), spare=True),
        since("seen", "SEEN", "last_seen"),
        field("labels", "LABELS"),
        field("id", "ID", wide=True),
        field("version", "VERSION", "agent_version", wide=True),
        field("address", "ADDRESS", wide=True),
        field("os", "OS", wide=True),
        _rate("rx", "RX", "net_rx_bytes_per_s"),
        _rate("tx", "TX", "net_tx_bytes_per_s"),
        field("load", "LOAD", "metrics.load1", wide=True, right=True),
        since("connected", "CONNECTED", "connected_since", wide=True),
    ),
    empty="no nodes; `gamenode node token` gives the command that joins one, `gamenode up` adds this machine",
)


def _figure(key: str, title: str, *, wide: bool = False, bytes: bool = False, percent: bool = False) -> Column:
    def cell(document: Document, now: float) -> str:
        value = document[key]
        return texts.size(value) if bytes else f"{value:.0f}%" if percent else f"{value:g}"

    return Column(key, title, cell, wide, True, lambda document: document[key])


SAMPLES = Table(
    (
        field("sampled_at", "TIME"),
        _figure("cpu_percent", "CPU", percent=True),
        _figure("load1", "LOAD"),
        _figure("memory_percent", "MEM", percent=True),
        _figure("memory_used", "MEM USED", bytes=True),
        _figure("disk_percent", "DISK", percent=True),
        _figure("net_rx_bytes_per_s", "RX/s", bytes=True),
        _figure("net_tx_bytes_per_s", "TX/s", bytes=True),
        _figure("processes", "PROCS"),
        _figure("containers_running", "CONTAINERS", wide=True),
    ),
    name="sampled_at",
    id="sampled_at",
    empty="no samples yet",
)


def _last_run(document: Document, now: float) -> str:
    last = document["last_run"]
    return "-" if last is None else str(last["state"])


def _last_age(document: Document, now: float) -> str:
    last = document["last_run"]
    return "-" if last is None else texts.age(last["created_at"], now)


PIPELINES = Table(
    (
        field("name", "NAME"),
        field("version", "VERSION", right=True),
        Column("last_run", "LAST RUN", _last_run, state=True),
        Column("age", "AGO", _last_age, right=True),
        field("description", "DESCRIPTION"),
        since("created", "CHANGED", "created_at", wide=True),
        field("by", "BY", "created_by", wide=True),
        field("shipped", "SHIPPED", wide=True),
    ),
    id="name",
    empty="no pipelines; `gamenode pipeline apply FILE` stores one",
)


def duration(document: Document, now: float) -> str:
    """How long something with `started_at` and `finished_at` took, or takes so far."""
    started, finished = document["started_at"], document["finished_at"]
    if started is None:
        return "-"
    return texts.span((texts.parse_time(finished) if finished else now) - texts.parse_time(started))


def _seconds(document: Document) -> float | None:
    started, finished = document["started_at"], document["finished_at"]
    return texts.parse_time(finished) - texts.parse_time(started) if started and finished else None


def _progress(document: Document, now: float) -> str:
    counts = document["counts"]
    ended = sum(counts.get(word, 0) for word in ("succeeded", "failed", "cancelled", "skipped"))
    failed = counts.get("failed", 0)
    return f"{ended}/{document['total']}" + (f" ({failed} failed)" if failed else "")


def _why(document: Document, now: float) -> str:
    error = document["error"]
    return "-" if error is None else f"{error['code']}: {error['message']}"


RUNS = Table(
    (
        field("id", "ID"),
        field("pipeline", "PIPELINE"),
        field("state", "STATE", state=True),
        Column("tasks", "TASKS", _progress, right=True, order=lambda document: document["total"]),
        since("age", "AGE", "created_at"),
        Column("took", "TOOK", duration, right=True, order=_seconds),
        field("by", "BY", "created_by"),
        Column("error", "ERROR", _why),
        field("version", "VERSION", wide=True, right=True),
        field("target", "TARGET", wide=True),
        field("retry_of", "RETRY OF", wide=True),
        field("params", "PARAMS", wide=True),
        field("note", "NOTE", wide=True),
    ),
    name="id",
    empty="no runs; `gamenode pipeline run NAME` starts one",
)

EVENTS = Table(
    (
        field("time", "TIME"),
        field("type", "TYPE"),
        field("node_id", "NODE"),
        field("run_id", "RUN"),
        field("step_id", "STEP"),
        field("actor", "BY"),
        field("data", "DATA"),
        field("cursor", "CURSOR", wide=True),
        field("task_id", "TASK", wide=True),
        field("fence", "FENCE", wide=True),
    ),
    name="cursor",
    id="cursor",
    empty="no events match",
)

AUDIT = Table(
    (
        field("seq", "SEQ", right=True),
        field("time", "TIME"),
        field("principal", "WHO"),
        field("method", "DID"),
        field("target", "TO"),
        field("outcome", "OUTCOME"),
        field("reason", "REASON"),
        field("source", "FROM", wide=True),
        field("request", "REQUEST", wide=True),
        field("mac", "MAC", wide=True),
    ),
    name="seq",
    id="seq",
    empty="no audit records match",
)

USERS = Table(
    (
        field("name", "NAME"),
        field("role", "ROLE"),
        field("state", "STATE", state=True),
        field("login", "LOGS IN AS"),
        field("expires_at", "EXPIRES"),
        field("created_at", "CREATED", wide=True),
        field("created_by", "BY", wide=True),
        field("revoked_at", "REVOKED", wide=True),
        field("revoked_by", "REVOKED BY", wide=True),
    ),
    id="name",
    empty="no users; `gamenode user create` makes one",
)

ATTENTION = Table(
    (
        since("since", "SINCE", "since"),
        field("kind", "KIND"),
        field("name", "NAME"),
        field("text", "WHAT"),
        field("hint", "TRY"),
    ),
    empty="nothing needs attention",
)

CHOICES = Table(
    (field("node", "NODE"), field("chosen", "CHOSEN"), field("reason", "WHY"), field("node_id", "ID", wide=True)),
    name="node",
    id="node_id",
    empty="no nodes considered",
)

PIPELINE_VERSIONS = Table(
    (
        field("version", "VERSION", right=True),
        since("age", "AGO", "created_at"),
        field("by", "BY", "created_by"),
        Column("what", "WHAT", lambda document, now: "removed" if document["removed"] else document["sha256"][:12]),
        field("description", "DESCRIPTION"),
    ),
    id="version",
    empty="nothing was stored",
)

SCHEDULES = Table(
    (
        field("name", "SCHEDULE"),
        Column("state", "STATE", lambda document, now: str(document["state"]), state=True),
        field("cron", "CRON"),
        field("timezone", "ZONE"),
        Column("next", "NEXT (UTC)", lambda document, now: document["next"][0] if document["next"] else "-"),
        field("last_run", "LAST RUN"),
        field("last_error", "WHY NOT"),
        field("catch_up", "CATCH UP", wide=True),
        field("on_overlap", "OVERLAP", wide=True),
        field("paused_by", "PAUSED BY", wide=True),
        field("paused_reason", "REASON", wide=True),
    ),
    id="name",
    empty="no pipeline has a `schedule`",
)

APPLIED = Table(
    (field("name", "NAME"), field("version", "VERSION", right=True), field("result", "RESULT")),
    id="name",
    empty="nothing to store",
)

PARAMETERS = Table(
    (
        field("name", "PARAMETER"),
        field("type", "TYPE"),
        field("required", "REQUIRED"),
        field("default", "DEFAULT"),
        field("choices", "CHOICES"),
        field("description", "DESCRIPTION"),
    ),
    id="name",
    empty="no parameters",
)

CHECKS = Table(
    (field("check", "CHECK"), field("result", "RESULT", state=True), field("text", "WHAT"), field("hint", "TRY")),
    name="check",
    id="check",
    empty="no checks",
)

KEYS = Table((field("key", "KEY"), field("text", "FOR")), name="key", id="key", empty="no keys below it")

#: What later steps can ask of a step.
OUTPUTS = Table((field("key", "OUTPUT"), field("text", "IS")), name="key", id="key", empty="no outputs")

CONTEXTS = Table(
    (
        field("current", "CURRENT"),
        field("name", "NAME"),
        field("data_dir", "DATA DIR"),
        field("connect", "ADDRESS"),
        field("credentials", "CREDENTIALS", wide=True),
    ),
    id="name",
    empty="no contexts; `gamenode context add NAME --data-dir DIR` or `… --connect HOST:PORT` makes one",
)


def _step_log(document: Document, now: float) -> str:
    log = document["log"]
    if log is None:
        return "-"
    return f"{log['lines']} line{'' if log['lines'] == 1 else 's'}" + ("" if log["complete"] else "…")


def _exit(document: Document, now: float) -> str:
    code = document["exit_code"]
    return "-" if code is None else str(code)


#: Rows of `run show`: one per task and step, see `run_rows`.
STEPS = Table(
    (
        field("node", "NODE"),
        field("step", "STEP"),
        field("state", "STATE", state=True),
        field("attempt", "TRY", right=True),
        Column("exit", "EXIT", _exit, right=True),
        Column("took", "TOOK", duration, right=True),
        Column("log", "LOG", _step_log, right=True),
        Column("error", "ERROR", _why),
        field("outputs", "OUTPUTS", wide=True),
    ),
    name="step",
    id="step",
    empty="no tasks",
)


def run_rows(run: Document) -> list[dict[str, Any]]:
    """A run's tasks × steps as rows of `STEPS`; a task without steps, or with an error of its own, has a row too."""
    rows: list[dict[str, Any]] = []
    for task in run["tasks"]:
        if task["error"] is not None or not task["steps"]:
            row = {key: task[key] for key in ("node", "state", "started_at", "finished_at", "error")}
            rows.append({**row, "step": "(task)", "attempt": task["fence"], "exit_code": None, "log": None})
        rows.extend({**step, "node": task["node"], "step": step["id"]} for step in task["steps"])
    return rows
