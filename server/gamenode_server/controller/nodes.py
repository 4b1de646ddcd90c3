"""Changes of nodes: labels, whether they get work, connection states, revoking, quarantine, forgetting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.selectors import validate_label
from gamenode_pipelines.states import AdminState, NodeState, TaskState
from gamenode_pipelines.task_state import on_node
from gamenode_server.controller.effects import CloseSession, ConfigChanged
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx

MAX_LABELS = 64

#: A node in one of these does not come back by itself.
BARRED = frozenset({NodeState.REVOKED, NodeState.QUARANTINED})


def label_node(
    *, node_id: str, set_: Mapping[str, str], remove: Sequence[str], by: str, audit: NewAudit
) -> Callable[[Tx], Node]:
    """Sets and removes labels. Removing one that is not there is NOT_FOUND; a bad one INVALID_ARGUMENT."""

    def op(tx: Tx) -> Node:
        node = _node(tx, node_id)
        labels = dict(node.labels)
        for key in remove:
            if key not in labels:
                raise GameNodeError(Code.NOT_FOUND, f"node {node.name} has no label {key!r}")
            del labels[key]
        for key, value in set_.items():
            validate_label(key, value)
            labels[key] = value
        if len(labels) > MAX_LABELS:
            raise GameNodeError(Code.LIMIT_EXCEEDED, f"a node can have {MAX_LABELS} labels, this makes {len(labels)}")
        tx.audit(audit)
        if labels == dict(node.labels):
            return node
        node = replace(node, labels=labels)
        tx.put_node(node)
        data = {**dict(set_), **dict.fromkeys(remove, "")}
        tx.emit([NewEvent(type="node.labelled", node_id=node.id, actor=by, data=data)])
        tx.effect(ConfigChanged(node.id))
        return node

    return op


def set_admin_state(
    plans: Plans, *, node_ids: Sequence[str], state: AdminState, by: str, reason: str, audit: NewAudit
) -> Callable[[Tx], tuple[Node, ...]]:
    """Says whether nodes get work. One that may have it again gets what waits for it. Returns them as they are now."""

    def op(tx: Tx) -> tuple[Node, ...]:
        tx.audit(audit)
        moves = Moves(tx, plans, actor=by)
        nodes: list[Node] = []
        for node_id in node_ids:
            node = _node(tx, node_id)
            held = node.admin_state in (AdminState.DISABLED, AdminState.DRAINING)
            if held and state is AdminState.CORDONED:
                raise GameNodeError(
                    Code.STATE_CONFLICT,
                    f"node {node.name} is {node.admin_state}, which holds back more than a cordon: uncordon it first",
                )
            if node.admin_state is not state:
                kind = _back(node.admin_state) if state is AdminState.ACTIVE else f"node.{state}"
                moves.emit(NewEvent(type=kind, node_id=node.id, actor=by, data={"reason": reason} if reason else {}))
                node = replace(node, admin_state=state, drain=None)
                tx.put_node(node)
                moves.fill(node.id)
            nodes.append(node)
        moves.finish()
        return tuple(nodes)

    return op


def _back(old: AdminState) -> str:
    return "node.enabled" if old is AdminState.DISABLED else "node.uncordoned"


def revoke_node(plans: Plans, *, node_id: str, by: str, reason: str, audit: NewAudit) -> Callable[[Tx], Node]:
    """Refuses the node from now on. What it was running can not be learnt any more; what waits for it ends."""

    def op(tx: Tx) -> Node:
        node = _node(tx, node_id)
        tx.audit(audit)
        if node.state is NodeState.REVOKED:
            return node
        return _bar(tx, plans, node, NodeState.REVOKED, Error(Code.REVOKED, _because("was revoked", reason)), by=by)

    return op


def quarantine_node(plans: Plans, *, node_id: str, reason: str) -> Callable[[Tx], Node]:
    """Shuts out a node whose identity is used twice, until somebody has looked."""

    def op(tx: Tx) -> Node:
        node = _node(tx, node_id)
        if node.state in BARRED:
            return node
        error = Error(Code.QUARANTINED, _because("is quarantined", reason))
        return _bar(tx, plans, node, NodeState.QUARANTINED, error, by="server")

    return op


def _bar(tx: Tx, plans: Plans, node: Node, state: NodeState, error: Error, *, by: str) -> Node:
    node = replace(node, state=state, last_seen=tx.now)
    tx.put_node(node)
    moves = Moves(tx, plans, actor=by)
    moves.emit(NewEvent(type=f"node.{state}", node_id=node.id, actor=by, data={"reason": error.message}))
    if state is NodeState.REVOKED:
        for task in tx.live_tasks_on(node.id):
            if on_node(task):
                moves.lose(task, f"node {node.name} was revoked", gone=True)
        moves.fill(node.id)
    moves.effect(CloseSession(node.id, error))
    moves.finish()
    return node


def remove_node(*, node_id: str, by: str, reason: str, audit: NewAudit) -> Callable[[Tx], None]:
    """Forgets a node. STATE_CONFLICT while it may come back or has a task that can move."""

    def op(tx: Tx) -> None:
        node = _node(tx, node_id)
        if node.state in (NodeState.ONLINE, NodeState.SUSPECT):
            raise GameNodeError(
                Code.STATE_CONFLICT, f"node {node.name} is {node.state}: stop its agent or revoke it first"
            )
        moving = [t for t in tx.live_tasks_on(node.id) if t.state is not TaskState.NEEDS_ATTENTION]
        if moving:
            raise GameNodeError(
                Code.STATE_CONFLICT,
                f"node {node.name} still has {len(moving)} task(s), the first of run {moving[0].run_id}: "
                "cancel what runs there, or revoke the node",
            )
        tx.audit(audit)
        tx.remove_node(node.id)
        tx.emit([NewEvent(type="node.removed", node_id=node.id, actor=by, data={"name": node.name, "reason": reason})])
        tx.effect(CloseSession(node.id, Error(Code.REVOKED, "this node has been removed"), forget=True))

    return op


@dataclass(frozen=True, slots=True)
class StateChange:
    """What the sessions say of a node now. Void if another session has begun since `epoch`."""

    node_id: str
    epoch: int
    state: NodeState
    last_seen: float
    reason: str = ""


def change_states(plans: Plans, changes: Sequence[StateChange]) -> Callable[[Tx], tuple[Node, ...]]:
    """Stores new connection states; a node that is online again gets what waits for it. Returns those that changed."""

    def op(tx: Tx) -> tuple[Node, ...]:
        moves = Moves(tx, plans)
        changed: list[Node] = []
        for change in changes:
            node = tx.node(change.node_id)
            if node is None or node.state in BARRED or node.session_epoch != change.epoch or node.state is change.state:
                continue
            node = replace(node, state=change.state, last_seen=max(node.last_seen, change.last_seen))
            tx.put_node(node)
            data = {"reason": change.reason} if change.reason else {}
            moves.emit(NewEvent(type=f"node.{change.state}", node_id=node.id, data=data))
            if change.state is NodeState.ONLINE:
                moves.fill(node.id)
            changed.append(node)
        moves.finish()
        return tuple(changed)

    return op


def _node(tx: Tx, node_id: str) -> Node:
    node = tx.node(node_id)
    if node is None:
        raise GameNodeError(Code.NOT_FOUND, f"no node {node_id}")
    return node


def _because(what: str, reason: str) -> str:
    return f"this node {what}: {reason}" if reason else f"this node {what}"
