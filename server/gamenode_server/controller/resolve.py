"""A person's word on a task that cannot move by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import TaskEvent, TaskResolved
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_state import Task
from gamenode_server.controller.effects import SendForget
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.records import NewAudit
from gamenode_server.store.tx import Tx

Resolution = Literal["succeeded", "failed", "retry"]


def resolve_task(
    plans: Plans, *, run_id: str, node_id: str, as_: Resolution, by: str, reason: str, audit: NewAudit
) -> Callable[[Tx], Task]:
    """Ends the run's task on the node as the person says, or gives it out again under a new fence.

    STATE_CONFLICT where the task can still move by itself or has ended; NOT_FOUND where the run has none on the node.
    """

    def op(tx: Tx) -> Task:
        task = next((t for t in tx.live_tasks_of(run_id) if t.node.id == node_id), None)
        if task is None:
            task = next((t for t in tx.tasks_of(run_id) if t.node.id == node_id), None)
            if task is None:
                raise GameNodeError(Code.NOT_FOUND, f"run {run_id} has no task on node {node_id}")
        if task.state is not TaskState.NEEDS_ATTENTION:
            raise GameNodeError(
                Code.STATE_CONFLICT,
                f"the task of run {run_id} on {task.node.name} is {task.state}: "
                "only one that needs attention is resolved",
            )
        moves = Moves(tx, plans, actor=by)
        moves.fold(TaskEvent(task.id, task.fence, tx.now, TaskResolved(as_, by, reason)))
        moves.effect(SendForget(node_id, ((task.id, task.fence, task.state),)))
        tx.audit(audit)
        moves.finish()
        resolved = moves.task(task.id)
        if resolved is None:
            raise GameNodeError(Code.DATA_LOSS, f"the store has no task {task.id}")
        return resolved

    return op
