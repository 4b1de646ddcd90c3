"""Notifiers as documents, and their table."""

from __future__ import annotations

from gamenode_console import words
from gamenode_console.documents import Document
from gamenode_console.tables import Table, field, since
from gamenode_proto.v1 import notifiers_pb2

TABLE = Table(
    (
        field("name", "NAME"),
        field("type", "TYPE"),
        field("state", "STATE", state=True),
        field("queued", "QUEUED", right=True),
        field("sent", "SENT", right=True),
        field("failed", "FAILED", right=True),
        field("dropped", "DROPPED", right=True),
        since("success", "SUCCESS", "last_success"),
        since("failure", "FAILURE", "last_failure"),
        field("target", "TARGET"),
        field("error", "ERROR", "last_error", wide=True),
        field("events", "EVENTS", wide=True),
        field("select", "SELECT", wide=True),
        field("deduplicated", "SAME", wide=True, right=True),
        field("silenced", "SILENCED", wide=True, right=True),
    ),
    id="name",
    empty="no notifiers; the server's config file can name some",
)


def notifier(message: notifiers_pb2.Notifier) -> Document:
    """A notifier and how it stands; `state` is `failing`, `silent` or `ok`."""
    return {
        "name": message.name,
        "type": message.type,
        "state": "failing" if message.failing_since else "silent" if message.silent else "ok",
        "target": message.target,
        "events": list(message.events),
        "select": message.select or None,
        "queued": message.queued,
        "sent": message.sent,
        "failed": message.failed,
        "dropped": message.dropped,
        "deduplicated": message.deduplicated,
        "silenced": message.silenced,
        "last_success": words.time(message.last_success),
        "last_failure": words.time(message.last_failure),
        "last_error": message.last_error or None,
        "failing_since": words.time(message.failing_since),
    }


def tried(name: str, message: notifiers_pb2.TestNotifierResponse) -> Document:
    """What came of a test."""
    return {
        "name": name,
        "delivered": message.delivered,
        "answer": message.answer,
        "seconds": round(message.seconds, 3),
    }
