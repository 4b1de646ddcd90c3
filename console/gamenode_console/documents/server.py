"""The server itself, its events and its audit log as documents."""

from __future__ import annotations

import json

from gamenode_console import words
from gamenode_console.documents import Document
from gamenode_proto.v1 import administration_pb2, state_management_pb2, work_pb2


def event(message: work_pb2.Event) -> Document:
    """An immutable record. The cursor is opaque, hence text."""
    return {
        "cursor": str(message.cursor),
        "time": words.time(message.time),
        "type": message.type,
        "node_id": message.node_id or None,
        "run_id": message.run_id or None,
        "task_id": message.task_id or None,
        "step_id": message.step_id or None,
        "fence": message.fence or None,
        "actor": message.actor or None,
        "data": dict(sorted(message.data.items())),
    }


def audit_record(message: administration_pb2.AuditRecord) -> Document:
    """One row of the audit log; `request` is what was asked, secrets left out."""
    try:
        request = json.loads(message.request) if message.request else None
    except ValueError:
        request = message.request
    return {
        "seq": message.seq,
        "time": words.time(message.time),
        "principal": message.principal,
        "method": message.method,
        "target": message.target or None,
        "outcome": message.outcome,
        "reason": message.reason or None,
        "source": message.source,
        "request": request,
        "mac": message.mac,
    }


def audit_verdict(message: administration_pb2.VerifyAuditResponse) -> Document:
    """Whether the audit chain holds, and where it does not."""
    return {
        "intact": message.intact,
        "records": message.records,
        "broken_at": None if message.intact else message.broken_at,
        "problem": message.problem or None,
    }


def who_am_i(message: administration_pb2.WhoAmIResponse) -> Document:
    """Who the server takes the caller for."""
    return {
        "principal": message.principal,
        "role": message.role,
        "method": message.method,
        "server_version": message.server_version,
        "cluster_id": message.cluster_id,
    }


def user(message: administration_pb2.User, now: float) -> Document:
    """Who may operate. `login` is `certificate`, or the Unix user or `@group` on the server's host."""
    ended = 0 < message.expires_at <= now
    return {
        "name": message.name,
        "role": message.role,
        "state": "revoked" if message.revoked_at else "expired" if ended else "active",
        "login": message.unix_user or (f"@{message.unix_group}" if message.unix_group else "certificate"),
        "created_at": words.time(message.created_at),
        "created_by": message.created_by,
        "expires_at": words.time(message.expires_at),
        "revoked_at": words.time(message.revoked_at),
        "revoked_by": message.revoked_by or None,
    }


def status(message: state_management_pb2.GetStatusResponse) -> Document:
    """What needs attention, oldest first, and the server's own figures."""
    attention = sorted(message.attention, key=lambda a: a.since)
    return {
        "server_version": message.server_version,
        "cluster_id": message.cluster_id,
        "started_at": words.time(message.started_at),
        "nodes_by_state": dict(sorted(message.nodes_by_state.items())),
        "runs_by_state": dict(sorted(message.runs_by_state.items())),
        "storage": message.storage,
        "cursor": str(message.cursor),
        "attention": [
            {
                "since": words.time(a.since),
                "kind": a.kind,
                "id": a.id,
                "name": a.name,
                "text": a.text,
                "hint": a.hint or None,
            }
            for a in attention
        ],
    }
