"""Goes on with what one transaction was too small for, and says again what was not answered.

Everything here is derived from what is stored, so that it can be asked for at any time and as often as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_state import Task, on_node
from gamenode_server.controller.approvals import decisions_for
from gamenode_server.controller.effects import SendAssign, SendCancel
from gamenode_server.controller.fanout import continue_fanout
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.store.tx import Tx


def settle_run(plans: Plans, *, run_id: str) -> Callable[[Tx], None]:
    """Makes, gives out or ends the next chunk of a run's tasks, whatever is due."""

    def op(tx: Tx) -> None:
        run = tx.run(run_id)
        if run is None or run.state.ended:
            return
        moves = Moves(tx, plans)
        if not continue_fanout(tx, moves, run):
            moves.settle(run_id)
        moves.finish()

    return op


def live_run_ids(tx: Tx) -> list[str]:
    """Every run that has not ended, oldest first."""
    return [run.id for run in tx.live_runs()]


def resend(node_ids: Iterable[str]) -> Callable[[Tx], None]:
    """Sends again every assignment these nodes have not accepted and every cancel they have not taken up."""

    def op(tx: Tx) -> None:
        for node_id in node_ids:
            for task in tx.live_tasks_on(node_id):
                remind(tx, task)

    return op


def remind(tx: Tx, task: Task) -> None:
    """Hands out what the task's agent has not answered: same assignment, same fence."""
    if not on_node(task):
        return
    run = tx.run(task.run_id)
    if run is None:
        return
    if not task.accepted and task.state is TaskState.DISPATCHED:
        tx.effect(SendAssign(task, run.bundle_digest))
    cancel = run.cancel or task.cancel_wanted
    if cancel is not None and (task.cancel is None or (cancel.force and not task.cancel.force)):
        tx.effect(SendCancel(task.node.id, task.id, task.fence, cancel))
    for decision in decisions_for(run, task):
        tx.effect(decision)
