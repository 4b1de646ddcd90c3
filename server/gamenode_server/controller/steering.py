"""What operators say of a run that is under way: hold it, let it go on, approve it or one of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gamenode_pipelines.errors import Code, GameNodeError, IllegalTransition
from gamenode_pipelines.gates import Decision, Hold
from gamenode_pipelines.runs import Run, RunDecided, RunEvent, RunPaused, RunResumed, StepDecided, decision_key
from gamenode_pipelines.task_state import Task
from gamenode_pipelines.wording import listed
from gamenode_server.controller import approvals
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import NewAudit
from gamenode_server.store.tx import Tx


def pause_run(plans: Plans, *, run_id: str, by: str, reason: str, audit: NewAudit) -> Callable[[Tx], Run]:
    """Nothing further of the run starts; what runs goes on. STATE_CONFLICT where nothing is left to hold back."""

    def op(tx: Tx) -> Run:
        run = _run(tx, run_id)
        if run.hold is not None:
            raise GameNodeError(Code.STATE_CONFLICT, f"run {run_id} was paused by {run.hold.by} already")
        return _steer(tx, plans, run_id, RunPaused(Hold(by, reason, tx.now)), by, audit)

    return op


def resume_run(plans: Plans, *, run_id: str, by: str, audit: NewAudit) -> Callable[[Tx], Run]:
    """What was paused goes on. STATE_CONFLICT where it was not."""

    def op(tx: Tx) -> Run:
        _run(tx, run_id)
        return _steer(tx, plans, run_id, RunResumed(), by, audit)

    return op


def decide_run(
    plans: Plans, *, run_id: str, approved: bool, by: str, reason: str, audit: NewAudit
) -> Callable[[Tx], Run]:
    """A run that waits for an approval begins, or ends. STATE_CONFLICT where it waits for none."""

    def op(tx: Tx) -> Run:
        run = _run(tx, run_id)
        if run.decision is not None:
            word = "approved" if run.decision.approved else "rejected"
            raise GameNodeError(Code.STATE_CONFLICT, f"run {run_id} was {word} by {run.decision.by} already")
        return _steer(tx, plans, run_id, RunDecided(Decision(approved, by, reason, tx.now)), by, audit)

    return op


def decide_step(
    plans: Plans,
    *,
    run_id: str,
    step_id: str,
    node_id: str,
    decision: Callable[[float], Decision],
    may: Callable[[str], None],
    audit: NewAudit,
) -> Callable[[Tx], Run]:
    """What tasks wait for is said: they go on, or their step fails with `rejected`.

    `node_id` is for a step that asks each node, and can be left out there where only one waits. `may` raises where the
    caller has not the role that the step names. STATE_CONFLICT where no task waits at the step.
    """

    def op(tx: Tx) -> Run:
        run = _run(tx, run_id)
        given = decision(tx.now)
        moves = Moves(tx, plans, actor=given.by)
        step = approvals.asked_step(moves.plan(run), step_id)
        may(approvals.role_of(step))
        waiting = approvals.waiting_at(moves.live_tasks_of(run_id), step_id)
        key = decision_key(step_id, _node_of(step_id, waiting, node_id) if approvals.asks_each_node(step) else "")
        if node_id and not approvals.asks_each_node(step):
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"step {step_id!r} is decided for the whole run; leave the node out"
            )
        before = run.decisions.get(key)
        if before is not None:
            word = "approved" if before.approved else "rejected"
            raise GameNodeError(Code.STATE_CONFLICT, f"step {step_id!r} was {word} by {before.by} already")
        if not waiting:
            raise GameNodeError(Code.STATE_CONFLICT, f"no task of run {run_id} waits at step {step_id!r}")
        run = moves.run_event(run_id, StepDecided(key, given))
        for task in waiting:
            for effect in approvals.decisions_for(run, task):
                moves.effect(effect)
        tx.audit(audit)
        moves.finish()
        return run

    return op


def _node_of(step_id: str, waiting: Sequence[Task], node_id: str) -> str:
    """The node that is decided about."""
    nodes = {task.node.id: task.node.name for task in waiting}
    if not node_id and len(nodes) > 1:
        names = listed(sorted(nodes.values()), 8)
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"step {step_id!r} asks each node, and {len(nodes)} wait: --node {names}"
        )
    return node_id or next(iter(nodes), "")


def _run(tx: Tx, run_id: str) -> Run:
    run = tx.run(run_id)
    if run is None:
        raise GameNodeError(Code.NOT_FOUND, f"no run {run_id}")
    return run


def _steer(tx: Tx, plans: Plans, run_id: str, event: RunEvent, by: str, audit: NewAudit) -> Run:
    moves = Moves(tx, plans, actor=by)
    try:
        moves.run_event(run_id, event)
    except IllegalTransition as error:
        raise GameNodeError(Code.STATE_CONFLICT, error.message) from error
    tx.audit(audit)
    moves.finish()
    return moves.run(run_id)
