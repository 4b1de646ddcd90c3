"""Applies what an agent reports: a batch of its outbox, once, in order, with the moved cursor in the same transaction.

Refuses to be told about a task of another node, and to be told by a session that is no longer the node's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gamenode_pipelines.errors import Code, Error, GameNodeError, IllegalTransition
from gamenode_pipelines.events import TaskAssigned, TaskEvent, TaskLost, TaskResolved, TaskSkipped
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

#: What only the server may say.
_NOT_AN_AGENTS = (TaskAssigned, TaskLost, TaskResolved, TaskSkipped)
_EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
#: Families of events that are an agent's to tell; one of another family is stored as `agent.reported`.
_AN_AGENTS = frozenset({"agent", "container", "engine", "instance"})
MAX_EVENT_TYPE = 64
MAX_EVENT_DATA = 32
MAX_EVENT_VALUE = 4096


@dataclass(frozen=True, slots=True)
class NodeReport:
    """Something that happened on a node outside of any task."""

    at: float
    type: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an agent's outbox. A body of None is one this server does not know, of a newer agent."""

    seq: int
    body: TaskEvent | NodeReport | None


@dataclass(frozen=True, slots=True)
class Applied:
    """How far the outbox is stored now. With `refused` nothing of the batch was applied."""

    acked: int
    refused: Error | None = None


def apply_updates(
    plans: Plans, *, node_id: str, epoch: int, records: Sequence[Record], source: str = ""
) -> Callable[[Tx], Applied]:
    """Folds the records that are new, moves the cursor, and does what follows from them.

    A record that was applied before changes nothing. Raises SUPERSEDED for a session that is no longer the node's and
    PROTOCOL_ERROR for a gap or an event that is not an agent's to make; then nothing was applied.
    """

    def op(tx: Tx) -> Applied:
        node = _node_of_session(tx, node_id, epoch)
        acked = node.outbox_acked
        new = [record for record in records if record.seq > acked]
        if not new:
            return Applied(acked)
        _check_order(acked, new)
        refusal = _check_owner(tx, node, new)
        if refusal is not None:
            _audit_refusal(tx, node, refusal, source)
            return Applied(acked, refusal)
        moves = Moves(tx, plans, actor=f"node:{node.name}")
        for record in new:
            match record.body:
                case TaskEvent() as event:
                    _fold(tx, moves, node, event)
                case NodeReport() as report:
                    moves.emit(_report(tx, node, report))
                case None:
                    moves.emit(NewEvent(type="sync.record_skipped", node_id=node.id, data={"seq": str(record.seq)}))
        acked = new[-1].seq
        tx.put_node(replace(node, outbox_acked=acked))
        moves.finish()
        return Applied(acked)

    return op


def _node_of_session(tx: Tx, node_id: str, epoch: int) -> Node:
    node = tx.node(node_id)
    if node is None:
        raise GameNodeError(Code.REVOKED, "this node has been removed")
    if node.session_epoch != epoch:
        raise GameNodeError(
            Code.SUPERSEDED, f"session {epoch} of node {node.name} was followed by session {node.session_epoch}"
        )
    return node


def _check_order(acked: int, new: Sequence[Record]) -> None:
    expected = acked + 1
    for record in new:
        if record.seq != expected:
            raise GameNodeError(
                Code.PROTOCOL_ERROR,
                f"outbox record {record.seq} came where {expected} was due: resume from {acked}",
                details={"acked": str(acked), "got": str(record.seq)},
            )
        expected += 1
        if isinstance(record.body, TaskEvent) and isinstance(record.body.body, _NOT_AN_AGENTS):
            raise GameNodeError(Code.PROTOCOL_ERROR, f"{type(record.body.body).__name__} is not an agent's to report")


def _check_owner(tx: Tx, node: Node, new: Sequence[Record]) -> Error | None:
    for record in new:
        if isinstance(record.body, TaskEvent):
            task = tx.task(record.body.task_id)
            if task is not None and task.node.id != node.id:
                return Error(
                    Code.PERMISSION_DENIED,
                    f"task {task.id} is not a task of node {node.name}",
                    {"task": task.id, "node": node.id},
                )
    return None


def _audit_refusal(tx: Tx, node: Node, refusal: Error, source: str) -> None:
    tx.audit(
        NewAudit(
            principal=f"node:{node.name}",
            method="Session",
            target=refusal.details["task"],
            outcome=refusal.code,
            request="{}",
            source=source,
            reason=refusal.message,
        )
    )
    tx.emit([NewEvent(type="node.report_refused", node_id=node.id, data={"message": refusal.message})])


def _fold(tx: Tx, moves: Moves, node: Node, event: TaskEvent) -> None:
    if moves.task(event.task_id) is None:
        moves.emit(
            NewEvent(
                type="sync.task_unknown",
                node_id=node.id,
                data={"task": event.task_id, "event": type(event.body).__name__},
                task_event=event,
            )
        )
        return
    try:
        moves.fold(event, time=min(event.at, tx.now))
    except IllegalTransition as error:
        # Agent and server no longer agree on this task. Refusing the record would stop everything else of the node
        # behind it for ever; it is kept, declared, and the next reconcile compares the two.
        logger.error("node %s reported what cannot be: %s", node.name, error, extra={"task": event.task_id})
        moves.emit(
            NewEvent(
                type="sync.failed",
                node_id=node.id,
                task_id=event.task_id,
                fence=event.fence,
                data={"message": error.message, "event": type(event.body).__name__},
            )
        )


def _report(tx: Tx, node: Node, report: NodeReport) -> NewEvent:
    data = {str(k)[:MAX_EVENT_TYPE]: str(v)[:MAX_EVENT_VALUE] for k, v in list(report.data.items())[:MAX_EVENT_DATA]}
    kind = report.type
    good = len(kind) <= MAX_EVENT_TYPE and _EVENT_TYPE.fullmatch(kind) and kind.partition(".")[0] in _AN_AGENTS
    if not good:
        data["reported_type"] = kind[:MAX_EVENT_VALUE]
        kind = "agent.reported"
    return NewEvent(type=kind, node_id=node.id, data=data, time=min(report.at, tx.now))
