"""Cancelling runs: the wish is stored with the run, and what has to be told to agents follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.runs import Run, RunCancelRequested
from gamenode_server.controller.fanout import cut_fanout
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import NewAudit
from gamenode_server.store.tx import Tx


def cancel_run(tx: Tx, moves: Moves, run: Run, cancel: CancelInfo) -> None:
    """Ends a run; one that is not whole yet is left with the tasks it has."""
    cut_fanout(tx, moves, run)
    moves.run_event(run.id, RunCancelRequested(cancel))


def cancel_runs(
    plans: Plans, *, run_ids: Sequence[str], by: str, reason: str, force: bool, audit: NewAudit
) -> Callable[[Tx], tuple[Run, ...]]:
    """Asks every run of `run_ids` to end and returns them as they stand then.

    A run that has ended already is returned as it ended, unless all have: then STATE_CONFLICT. NOT_FOUND changes
    nothing.
    """

    def op(tx: Tx) -> tuple[Run, ...]:
        found: list[Run] = []
        for run_id in dict.fromkeys(run_ids):
            run = tx.run(run_id)
            if run is None:
                raise GameNodeError(Code.NOT_FOUND, f"no run {run_id}")
            found.append(run)
        if all(run.state.ended for run in found):
            said = ", ".join(f"run {run.id} has ended as {run.state}" for run in found)
            raise GameNodeError(Code.STATE_CONFLICT, f"nothing to cancel: {said}")
        moves = Moves(tx, plans, actor=by)
        cancel = CancelInfo(by=by, reason=reason, force=force, at=tx.now)
        for run in found:
            if not run.state.ended:
                cancel_run(tx, moves, run, cancel)
        tx.audit(audit)
        moves.finish()
        return tuple(moves.run(run.id) for run in found)

    return op
