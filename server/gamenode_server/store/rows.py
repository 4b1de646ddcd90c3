"""Records to rows and back. Columns are what is searched for; the blob is the record itself, as its `v1` message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_proto.codec.events import task_event_to_proto
from gamenode_proto.codec.states import ADMIN_STATE, NODE_STATE, admin_state_from_proto, node_state_from_proto
from gamenode_proto.codec.work import (
    run_from_proto,
    run_to_proto,
    task_from_proto,
    task_to_proto,
)
from gamenode_proto.v1 import nodes_pb2, work_pb2
from gamenode_server.records import Drain, JoinToken, NewEvent, Node, PipelineVersion, User
from gamenode_server.store.audit_chain import AuditRow
from gamenode_server.store.statements import Row


def run_row(run: Run) -> Row:
    """The columns of `runs`."""
    record = run_to_proto(run).SerializeToString()
    return run.id, run.pipeline, run.state.value, run.created_at, run.finished_at, record


def run_of(record: bytes) -> Run:
    """The run in a blob."""
    return run_from_proto(work_pb2.Run.FromString(record))


def task_row(task: Task) -> Row:
    """The columns of `tasks`."""
    record = task_to_proto(task).SerializeToString()
    return task.id, task.run_id, task.position, record


def task_of(record: bytes) -> Task:
    """The task in a blob."""
    return task_from_proto(work_pb2.Task.FromString(record))


def node_row(node: Node) -> Row:
    """The columns of `nodes`."""
    message = nodes_pb2.Node(
        id=node.id,
        name=node.name,
        state=NODE_STATE[node.state],
        admin_state=ADMIN_STATE[node.admin_state],
        labels=node.labels,
        joined_at=node.joined_at,
        last_seen=node.last_seen,
        address=node.address,
        session_epoch=node.session_epoch,
        boot_id=node.boot_id,
        outbox_id=node.outbox_id,
        outbox_acked=node.outbox_acked,
        public_key=node.public_key,
        certificate_serial=node.certificate_serial,
        previous_certificate_serial=node.previous_certificate_serial,
        certificate_not_after=node.certificate_not_after,
    )
    if node.facts:
        message.facts.ParseFromString(node.facts)
    if node.drain is not None:
        message.drain.CopyFrom(drain_message(node.drain))
    return node.id, node.name, node.state.value, message.SerializeToString()


def node_of(record: bytes) -> Node:
    """The node in a blob."""
    message = nodes_pb2.Node.FromString(record)
    return Node(
        id=message.id,
        name=message.name,
        state=node_state_from_proto(message.state),
        admin_state=admin_state_from_proto(message.admin_state),
        labels=dict(message.labels),
        facts=message.facts.SerializeToString() if message.HasField("facts") else b"",
        joined_at=message.joined_at,
        last_seen=message.last_seen,
        address=message.address,
        session_epoch=message.session_epoch,
        boot_id=message.boot_id,
        outbox_id=message.outbox_id,
        outbox_acked=message.outbox_acked,
        public_key=message.public_key,
        certificate_serial=message.certificate_serial,
        previous_certificate_serial=message.previous_certificate_serial,
        certificate_not_after=message.certificate_not_after,
        drain=_drain(message.drain) if message.HasField("drain") else None,
    )


def drain_message(drain: Drain) -> nodes_pb2.NodeDrain:
    """How a node is being emptied."""
    return nodes_pb2.NodeDrain(since=drain.since, until=drain.until, by=drain.by, reason=drain.reason, done=drain.done)


def _drain(message: nodes_pb2.NodeDrain) -> Drain:
    return Drain(message.since, message.until, message.by, message.reason, message.done)


def event_message(event: NewEvent, *, cursor: int, now: float) -> work_pb2.Event:
    """A stored event: what is kept, published and sent."""
    return work_pb2.Event(
        cursor=cursor,
        time=event.time or now,
        type=event.type,
        node_id=event.node_id,
        run_id=event.run_id,
        task_id=event.task_id,
        step_id=event.step_id,
        fence=event.fence,
        actor=event.actor,
        data=event.data,
        task_event=task_event_to_proto(event.task_event) if event.task_event is not None else None,
    )


def event_row(event: work_pb2.Event, stored_at: float) -> Row:
    """The columns of `events`."""
    return event.cursor, stored_at, event.time, event.type, event.node_id, event.run_id, event.SerializeToString()


def pipeline_row(pipeline: PipelineVersion) -> Row:
    """The columns of `pipelines`."""
    return (
        pipeline.name,
        pipeline.version,
        pipeline.text,
        pipeline.description,
        pipeline.sha256,
        pipeline.created_at,
        pipeline.created_by,
        int(pipeline.shipped),
        pipeline.files,
    )


def pipeline_of(row: Any) -> PipelineVersion:
    """The pipeline in a row of `pipelines`."""
    name, version, text, description, sha256, created_at, created_by, shipped, files = row
    return PipelineVersion(
        name=name,
        version=version,
        text=text,
        description=description,
        sha256=sha256,
        created_at=created_at,
        created_by=created_by,
        shipped=bool(shipped),
        files=bytes(files) if isinstance(files, bytes) else files.encode(),
    )


def token_row(token: JoinToken) -> Row:
    """The columns of `tokens`."""
    return (
        token.id,
        token.secret_sha256,
        token.expires_at,
        token.uses_left,
        token.created_by,
        token.created_at,
        token.name,
        _object(token.labels),
        token.replace,
        _object(token.joined),
    )


def token_of(row: Any) -> JoinToken:
    """The token in a row of `tokens`."""
    id_, secret, expires_at, uses_left, created_by, created_at, name, labels, replace, joined = row
    return JoinToken(
        id=id_,
        secret_sha256=bytes(secret),
        expires_at=expires_at,
        uses_left=uses_left,
        created_by=created_by,
        created_at=created_at,
        name=name,
        labels=json.loads(labels),
        replace=replace,
        joined=json.loads(joined),
    )


def user_row(user: User) -> Row:
    """The columns of `users`, which are the record's fields."""
    return astuple(user)


def audit_row(row: AuditRow) -> Row:
    """The columns of `audit`."""
    return (
        row.seq,
        row.time,
        row.principal,
        row.method,
        row.target,
        row.outcome,
        row.request,
        row.source,
        row.reason,
        row.prev,
        row.mac,
    )


def _object(mapping: Mapping[str, str]) -> str:
    return json.dumps(dict(mapping), separators=(",", ":"))
