"""Until when the server waits for a node that is not there. Pure.

A node that is online answers for its tasks itself: their timeouts run there, also while it is offline. What the server
adds is an end to its own waiting, so that nothing is "running" for ever because a host burnt down.
"""

from __future__ import annotations

from gamenode_pipelines.plan import OnLost, Plan
from gamenode_pipelines.states import NodeState, TaskState
from gamenode_pipelines.task_state import Task, on_node
from gamenode_server.records import Node

_SILENT = frozenset({NodeState.NEVER_CONNECTED, NodeState.OFFLINE, NodeState.QUARANTINED, NodeState.REVOKED})


def is_silent(node: Node | None) -> bool:
    """Whether nothing is to be heard of the node for now."""
    return node is None or node.state in _SILENT


def gives_up_at(task: Task, plan: Plan, node: Node | None, *, grace: float) -> float | None:
    """When the server stops waiting for the silent node of a task; None where something else ends the wait."""
    if task.state.ended or task.state is TaskState.NEEDS_ATTENTION or not is_silent(node):
        return None
    last_seen = node.last_seen if node is not None else 0.0
    if not on_node(task):  # still to be given out, for the first time or again
        return max(task.created_at, last_seen) + plan.timeout
    if task.state is TaskState.LOST:  # given up already; the node may still tell
        return last_seen + plan.timeout + plan.finally_timeout + grace
    if plan.on_lost is OnLost.FAIL:
        return last_seen
    begun = task.started_at or max(task.created_at, last_seen)
    return begun + plan.timeout + plan.finally_timeout + grace
