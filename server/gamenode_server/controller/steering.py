"""What operators say of a run that is under way: hold it, let it go on, approve it or one of its steps."""

from __future__ import annotations

from collections.abc import Callable

from gamenode_pipelines.errors import Code, GameNodeError, IllegalTransition
from gamenode_pipelines.gates import Decision, Hold
from gamenode_pipelines.runs import Run, RunDecided, RunEvent, RunPaused, RunResumed
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
