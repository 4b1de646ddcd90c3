"""The tables of containers, and the sentences on them. Pure data and small cell functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamenode_console import texts
from gamenode_console.documents.containers import path
from gamenode_console.tables import Column, Table, field, since

Document = Mapping[str, Any]

#: The states in which a container uses anything.
_RUNS = frozenset({"running", "paused", "restarting"})


def runs(document: Document) -> bool:
    """Whether any of its processes may be alive."""
    return document["state"] in _RUNS


def state(document: Document) -> str:
    """`running (healthy)`, `exited (137, oom killed)`."""
    details = []
    if runs(document):
        details += [document["health"]] if document["health"] else []
    elif document["exit_code"] is not None:
        details.append(str(document["exit_code"]))
    if document["oom_killed"]:
        details.append("oom killed")
    return f"{document['state']} ({', '.join(details)})" if details else str(document["state"])


def _cpu(document: Document, now: float) -> str:
    figure = document["cpu_percent"]
    return "-" if figure is None else f"{figure:.0f}%"


def _memory(document: Document, now: float) -> str:
    used, limit = document["memory_used"], document["memory_limit"]
    if used is None:
        return "-"
    return texts.size(used) + (f"/{texts.size(limit)}" if limit else "")


def _seconds_up(document: Document) -> float | None:
    """When it started, newest first; None of one that does not run."""
    started = document["started_at"] if runs(document) else None
    return -texts.parse_time(started) if started else None


def _up(document: Document, now: float) -> str:
    return "-" if _seconds_up(document) is None else texts.age(document["started_at"], now)


CONTAINERS = Table(
    (
        field("node", "NODE"),
        field("name", "NAME"),
        field("image", "IMAGE"),
        Column("state", "STATE", lambda document, now: state(document), state=True),
        field("own", "OWN"),
        Column("cpu", "CPU", _cpu, right=True, order=lambda document: document["cpu_percent"]),
        Column("memory", "MEM", _memory, right=True, order=lambda document: document["memory_used"]),
        Column("up", "UP", _up, right=True, order=_seconds_up),
        field("ports", "PORTS"),
        field("restarts", "RESTARTS", right=True, spare=True),
        field("run", "RUN", "run_id", spare=True),
        field("step", "STEP", "step_id", wide=True),
        field("pids", "PIDS", wide=True, right=True),
        since("created", "CREATED", "created_at", wide=True),
        since("ended", "ENDED", "finished_at", wide=True),
        since("seen", "SEEN", "seen_at", wide=True),
        field("id", "ID", wide=True),
    ),
    name=path,
    empty="no containers run; `gamenode container ls -a` shows those that do not, too",
)

#: What became of containers that a command was about.
OUTCOMES = Table((field("node", "NODE"), field("name", "NAME"), field("result", "RESULT", state=True)), name=path)


def sentence(document: Document, now: float) -> str:
    """A container in a few words: where it is, how it stands, and whose it is."""
    up = _up(document, now)
    words = [state(document)] + ([f"up {up}"] if up != "-" else [])
    words.append(f"of run {document['run_id']}" if document["run_id"] else "" if document["own"] else "not ours")
    return f"{path(document)} ({', '.join(filter(None, words))})"
