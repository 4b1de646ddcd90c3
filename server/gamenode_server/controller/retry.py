"""Where a run that has ended is repeated. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.task_state import NodeFacts, Task


def retry_nodes(run: Run, tasks: Sequence[Task], *, failed_only: bool) -> list[NodeFacts]:
    """The nodes that `run` is repeated on: its own, or with `failed_only` those whose task did not succeed.

    One that failed, was cancelled or never started did not. STATE_CONFLICT where the run has not ended, as what is
    left of it could still change, and where there is no such node.
    """
    if run.state is RunState.NEEDS_ATTENTION:
        stuck = next((task.node.name for task in tasks if task.state is TaskState.NEEDS_ATTENTION), "NODE")
        raise GameNodeError(
            Code.STATE_CONFLICT,
            f"run {run.id} needs attention; say first what became of it: "
            f"gamenode run resolve {run.id} --node {stuck} --as …",
        )
    if not run.state.ended:
        raise GameNodeError(
            Code.STATE_CONFLICT, f"run {run.id} is {run.state}: only a run that has ended can be retried"
        )
    chosen = [task.node for task in tasks if not (failed_only and task.state is TaskState.SUCCEEDED)]
    if not chosen:
        words = "every task of it succeeded" if tasks else "it has no tasks"
        raise GameNodeError(Code.STATE_CONFLICT, f"there is nothing to retry in run {run.id}: {words}")
    return chosen
