"""What a run's state means to whoever waits for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamenode_console import texts
from gamenode_proto.process.exits import ExitCode

Document = Mapping[str, Any]

_EXITS = {
    "succeeded": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
    "needs_attention": ExitCode.NEEDS_ATTENTION,
    "waiting": ExitCode.NEEDS_ATTENTION,
    "paused": ExitCode.NEEDS_ATTENTION,
}
ENDED = frozenset({"succeeded", "failed", "cancelled"})


def exit_of(state: str) -> ExitCode | None:
    """The exit code of waiting for a run in this state; None while it moves by itself."""
    return _EXITS.get(state)


def sentence(run: Document) -> str:
    """A run's state in a line, with what to do next where a person has to."""
    head = f"run {run['id']} ({run['pipeline']}): {run['state'].replace('_', ' ')}"
    if run["started_at"] and run["finished_at"]:
        head += f" in {texts.span(texts.parse_time(run['finished_at']) - texts.parse_time(run['started_at']))}"
    if run["error"] is not None:
        head += f": {run['error']['message']} ({run['error']['code']})"
    match run["state"]:
        case "needs_attention":
            return f"{head}\n`gamenode run explain {run['id']}` says why, `gamenode run resolve {run['id']}` decides"
        case "waiting" | "paused":
            return f"{head}\n`gamenode run explain {run['id']}` says what it waits for"
        case "failed":
            return f"{head}\n`gamenode run show {run['id']}` shows where, `gamenode run logs {run['id']}` what was said"
        case _:
            return head


def pipeline_name(run: Document) -> str:
    """A run's pipeline with its version; version 0 is that of a file that was never stored."""
    return f"{run['pipeline']} v{run['version']}" if run["version"] else f"{run['pipeline']} (from a file)"


def goes_on(run_id: str) -> str:
    """What Ctrl-C says: nothing was cancelled, and how to."""
    return (
        f"run {run_id} goes on; `gamenode run watch {run_id}` comes back to it, `gamenode run cancel {run_id}` ends it"
    )
