"""Artifacts as documents, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamenode_console import texts, words
from gamenode_console.documents import Document
from gamenode_console.tables import Column, Table, field, since
from gamenode_proto.v1 import artifacts_pb2


def _size(document: Mapping[str, Any], now: float) -> str:
    return texts.size(document["bytes"])


def _digest(document: Mapping[str, Any], now: float) -> str:
    return str(document["digest"])[:12]


def _place(document: Mapping[str, Any], now: float) -> str:
    return str(document["node"] or "server")


TABLE = Table(
    (
        field("name", "NAME"),
        Column("size", "SIZE", _size, right=True, order=lambda document: document["bytes"]),
        Column("digest", "DIGEST", _digest),
        Column("kept", "KEPT ON", _place),
        since("age", "AGE", "created_at"),
        field("by", "BY", "created_by"),
        field("run", "RUN", "run_id"),
        field("step", "STEP", "step_id", wide=True),
        field("expires", "EXPIRES", "expires_at", wide=True),
        field("sha256", "SHA-256", "digest", wide=True),
    ),
    id="digest",
    name="name",
    empty="no artifacts; `gamenode artifact put FILE` or a step `artifact.put` stores one",
)


def artifact(message: artifacts_pb2.Artifact) -> Document:
    """An artifact; `node` is null where the server keeps it."""
    return {
        "name": message.name,
        "digest": message.digest,
        "bytes": message.bytes,
        "folder": message.folder,
        "node": (message.node or message.node_id) or None,
        "created_at": words.time(message.created_at),
        "created_by": message.created_by,
        "expires_at": words.time(message.expires_at),
        "run_id": message.run_id or None,
        "task_id": message.task_id or None,
        "step_id": message.step_id or None,
    }
