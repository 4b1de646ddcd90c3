"""Emptying nodes: they get no work, and what is left after the deadline is cancelled. Their containers stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.states import AdminState
from gamenode_pipelines.task_state import on_node
from gamenode_server.controller.moves import CHUNK, Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import Drain, NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx


def drain_nodes(
    plans: Plans, *, node_ids: Sequence[str], deadline: float, by: str, reason: str, audit: NewAudit
) -> Callable[[Tx], tuple[Node, ...]]:
    """Begins to empty nodes, or gives those that are being emptied another deadline (seconds; 0: none)."""

    def op(tx: Tx) -> tuple[Node, ...]:
        tx.audit(audit)
        moves = Moves(tx, plans, actor=by)
        nodes: list[Node] = []
        for node_id in node_ids:
            node = tx.node(node_id)
            if node is None:
                raise GameNodeError(Code.NOT_FOUND, f"no node {node_id}")
            since = node.drain.since if node.drain is not None else tx.now
            drain = Drain(since, tx.now + deadline if deadline else 0.0, by, reason)
            data = {"deadline": f"{deadline:g}" if deadline else "", "reason": reason}
            moves.emit(NewEvent(type="node.draining", node_id=node.id, actor=by, data=data))
            nodes.append(_looked_at(tx, moves, replace(node, admin_state=AdminState.DRAINING, drain=drain)))
        moves.finish()
        return tuple(nodes)

    return op


def look_at_drains(plans: Plans) -> Callable[[Tx], None]:
    """Cancels what is left on nodes whose deadline has come, and notes which of them are empty."""

    def op(tx: Tx) -> None:
        moves = Moves(tx, plans, actor="server")
        for node in tx.nodes():
            if node.drain is not None and not node.drain.done:
                _looked_at(tx, moves, node)
        moves.finish()

    return op


def _looked_at(tx: Tx, moves: Moves, node: Node) -> Node:
    drain = node.drain
    if drain is None:
        return node
    left = [task for task in moves.live_tasks_on(node.id) if on_node(task)]
    if not left:
        node = replace(node, drain=replace(drain, done=True))
        moves.emit(NewEvent(type="node.drained", node_id=node.id, actor=drain.by))
    elif 0 < drain.until <= tx.now:
        why = f": {drain.reason}" if drain.reason else ""
        cancel = CancelInfo(by=drain.by, reason=f"node {node.name} is drained{why}", at=tx.now)
        # Those that were told already must not keep the others from being told.
        untold = [task for task in left if task.cancel is None and task.cancel_wanted is None]
        for task in untold[:CHUNK]:
            moves.cancel_task(task, cancel)
    if tx.node(node.id) != node:
        tx.put_node(node)
    return node
