"""Opening and closing a node's session: fences the one before, finds out what was lost meanwhile, and puts it right."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from gamenode_pipelines import reconcile
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import CancelInfo, CancelRequested, TaskAccepted, TaskEvent
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState, TaskState
from gamenode_pipelines.task_state import Task
from gamenode_server.controller.approvals import decisions_for
from gamenode_server.controller.effects import ActivateSession, SendAssign, SendCancel, SendForget
from gamenode_server.controller.facts import CHANGED, difference
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.nodes import BARRED
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.slots import host_facts
from gamenode_server.identity.standing import refusal
from gamenode_server.records import NewEvent, Node
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an agent's Hello says, and the session that is to be opened for it."""

    session_id: str
    node_id: str
    boot_id: str
    outbox_id: str
    outbox_first: int
    max_epoch: int
    address: str
    #: Serialized `HostFacts`.
    facts: bytes
    inventory: Sequence[reconcile.Held] = ()


def open_session(plans: Plans, *, greeting: Greeting) -> Callable[[Tx], int]:
    """Makes the session the node's and returns its epoch, which is above every epoch the node has seen.

    Raises REVOKED, QUARANTINED, or UNAUTHENTICATED for a node that is not known.
    """

    def op(tx: Tx) -> int:
        node = tx.node(greeting.node_id)
        refused = refusal(node)
        if node is None or refused is not None:
            raise refused or GameNodeError(Code.UNAUTHENTICATED, "this node is not part of the fleet")
        moves = Moves(tx, plans, actor=f"node:{node.name}")
        epoch = max(node.session_epoch, greeting.max_epoch) + 1
        outbox_known = node.outbox_id in ("", greeting.outbox_id)
        acked = _resume_at(moves, node, greeting)
        moves.effect(ActivateSession(greeting.session_id, node.id, epoch, acked))
        _announce(moves, node, greeting, epoch)
        tx.put_node(
            replace(
                node,
                state=NodeState.ONLINE,
                session_epoch=epoch,
                boot_id=greeting.boot_id,
                outbox_id=greeting.outbox_id,
                outbox_acked=acked,
                address=greeting.address or node.address,
                facts=greeting.facts or node.facts,
                last_seen=tx.now,
            )
        )
        expected = tuple(_expected(tx, node, greeting))
        for action in reconcile.reconcile(expected, greeting.inventory, outbox_known=outbox_known):
            _carry_out(tx, moves, node, action)
        for task in moves.live_tasks_on(node.id):
            for decision in decisions_for(moves.run(task.run_id), task):
                moves.effect(decision)
        moves.fill(node.id)
        moves.finish()
        return epoch

    return op


def close_session(*, node_id: str, epoch: int, reason: str) -> Callable[[Tx], bool]:
    """The agent said goodbye: its node is offline, not just silent. False where another session has begun."""

    def op(tx: Tx) -> bool:
        node = tx.node(node_id)
        if node is None or node.session_epoch != epoch or node.state in BARRED:
            return False
        tx.put_node(replace(node, state=NodeState.OFFLINE, last_seen=tx.now))
        tx.emit([NewEvent(type="node.offline", node_id=node.id, data={"reason": reason or "its agent was stopped"})])
        return True

    return op


def _resume_at(moves: Moves, node: Node, greeting: Greeting) -> int:
    """Where the agent's outbox goes on; what cannot come any more is declared."""
    before = greeting.outbox_first - 1
    if node.outbox_id == greeting.outbox_id:
        if before <= node.outbox_acked:
            return node.outbox_acked
        message = f"records {node.outbox_acked + 1} to {before} of the outbox are gone"
    elif node.outbox_id:
        message = f"the agent has a new outbox; what the old one held behind record {node.outbox_acked} is gone"
    else:
        return max(before, 0)
    logger.warning("node %s: %s", node.name, message)
    data = {"message": message, "acked": str(node.outbox_acked)}
    moves.emit(NewEvent(type="node.sync_failed", node_id=node.id, data=data))
    return max(before, 0)


def _announce(moves: Moves, node: Node, greeting: Greeting, epoch: int) -> None:
    facts = host_facts(greeting.facts)
    news = difference(host_facts(node.facts), facts) if node.session_epoch and greeting.facts else {}
    if news:
        moves.emit(NewEvent(type=CHANGED, node_id=node.id, data=news))
    data = {"epoch": str(epoch), "address": greeting.address, "agent_version": facts.agent_version}
    moves.emit(NewEvent(type="node.connected", node_id=node.id, data=data))
    if node.state is not NodeState.ONLINE:
        moves.emit(NewEvent(type="node.online", node_id=node.id, data={"was": str(node.state)}))
    if node.boot_id and node.boot_id != greeting.boot_id:
        moves.emit(NewEvent(type="node.rebooted", node_id=node.id))


def _expected(tx: Tx, node: Node, greeting: Greeting) -> Iterator[reconcile.Expected]:
    seen: set[str] = set()
    for task in tx.live_tasks_on(node.id):
        seen.add(task.id)
        yield _expect(tx, task)
    for held in greeting.inventory:
        if held.task_id not in seen:
            seen.add(held.task_id)
            ended = tx.task(held.task_id)
            if ended is not None and ended.node.id == node.id:
                yield _expect(tx, ended)


def _expect(tx: Tx, task: Task) -> reconcile.Expected:
    run = tx.run(task.run_id)
    return reconcile.Expected(
        task_id=task.id,
        fence=task.fence,
        state=task.state,
        accepted=task.accepted,
        cancel=_untaken_cancel(run, task),
        unreachable=task.lost_from is not None,
    )


def _untaken_cancel(run: Run | None, task: Task) -> CancelInfo | None:
    cancel = run.cancel or task.cancel_wanted if run is not None else None
    if cancel is None or task.state.ended:
        return None
    if task.cancel is not None and not (cancel.force and not task.cancel.force):
        return None
    return cancel


def _carry_out(tx: Tx, moves: Moves, node: Node, action: reconcile.Action) -> None:
    match action:
        case reconcile.SendAssign(task_id=task_id):
            task = _task(moves, task_id)
            moves.effect(SendAssign(task, moves.run(task.run_id).bundle_digest))
        case reconcile.SendCancel(task_id=task_id, fence=fence, cancel=cancel):
            moves.effect(SendCancel(node.id, task_id, fence, cancel))
        case reconcile.CancelHere(task_id=task_id, fence=fence, cancel=cancel):
            moves.fold(TaskEvent(task_id, fence, tx.now, CancelRequested(cancel)))
        case reconcile.DeclareLost(task_id=task_id, reason=reason):
            moves.lose(_task(moves, task_id), reason, gone=True)
        case reconcile.TakeUp(task_id=task_id, fence=fence):
            moves.fold(TaskEvent(task_id, fence, tx.now, TaskAccepted()))
        case reconcile.Supersede(task_id=task_id, fence=fence):
            moves.effect(SendForget(node.id, ((task_id, fence, TaskState.LOST),)))
        case reconcile.Forget(task_id=task_id, fence=fence):
            known = moves.task(task_id)
            moves.effect(SendForget(node.id, ((task_id, fence, known.state if known else TaskState.LOST),)))
        case reconcile.ReportUnknown(task_id=task_id, fence=fence):
            data = {"task": task_id, "fence": str(fence)}
            moves.emit(NewEvent(type="sync.task_unknown", node_id=node.id, data=data))
        case _:
            assert_never(action)


def _task(moves: Moves, task_id: str) -> Task:
    task = moves.task(task_id)
    if task is None:
        raise GameNodeError(Code.DATA_LOSS, f"the store has no task {task_id}")
    return task
