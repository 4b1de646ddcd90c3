"""Containers, and what became of commands to them, as documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamenode_console import words
from gamenode_console.documents import Document
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import state_management_pb2


def container(message: state_management_pb2.NodeContainer) -> Document:
    """A container and where it is, as `container ls` gives it. What is not known, or not so, is null."""
    found = message.container
    usage = found.usage if found.HasField("usage") else None
    return {
        "node_id": message.node_id,
        "node": message.node,
        "id": found.id,
        "name": found.name,
        "image": found.image,
        "state": found.state,
        "health": found.health or None,
        "exit_code": found.exit_code if found.HasField("exit_code") else None,
        "oom_killed": found.oom_killed,
        "own": found.own,
        "run_id": found.run_id or None,
        "task_id": found.made_by.task_id or None,
        "step_id": found.made_by.step_id or None,
        "created_at": words.time(found.created_at),
        "started_at": words.time(found.started_at),
        "finished_at": words.time(found.finished_at),
        "ports": list(found.ports),
        "restarts": found.restarts,
        "cpu_percent": usage.cpu_percent if usage else None,
        "memory_used": usage.memory_used if usage else None,
        "memory_limit": (usage.memory_limit or None) if usage else None,
        "pids": usage.pids if usage else None,
        "seen_at": words.time(message.seen_at),
    }


def path(document: Mapping[str, Any]) -> str:
    """`NODE/NAME`: how commands take it where a name alone is not enough."""
    return f"{document['node']}/{document['name']}"


def outcome(document: Mapping[str, Any], result: str, error: GameNodeError | None = None) -> Document:
    """What became of a container that a command was about: `stopped`, `removed`, or `failed` with its error."""
    told = (
        None if error is None else {"code": str(error.code), "message": error.message, "details": dict(error.details)}
    )
    return {**{key: document[key] for key in ("node_id", "node", "id", "name")}, "result": result, "error": told}
