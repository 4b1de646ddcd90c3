"""Ends waiting for nodes that are not there: what they might still be doing is lost, what they were to do fails."""

from __future__ import annotations

from collections.abc import Callable

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.task_state import Task, on_node
from gamenode_server.controller.deadlines import gives_up_at, is_silent
from gamenode_server.controller.moves import CHUNK, Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.store.tx import Tx


def expire_tasks(plans: Plans, *, grace: float) -> Callable[[Tx], int]:
    """Gives up every task that a silent node has had long enough for; returns how many, at most a chunk."""

    def op(tx: Tx) -> int:
        moves = Moves(tx, plans, actor="server")
        done = 0
        for node in tx.nodes():
            if not is_silent(node):
                continue
            for task in tx.live_tasks_on(node.id):
                run = tx.run(task.run_id)
                if run is None or (not on_node(task) and task.position >= run.started):
                    continue
                due = gives_up_at(task, moves.plan(run), node, grace=grace)
                if due is None or due > tx.now:
                    continue
                silent = format_duration(round(tx.now - node.last_seen)) if node.last_seen else "ever"
                _give_up(moves, task, f"node {node.name} has not been heard of for {silent}")
                done += 1
                if done >= CHUNK:
                    moves.finish()
                    return done
        moves.finish()
        return done

    return op


def _give_up(moves: Moves, task: Task, reason: str) -> None:
    if on_node(task):
        moves.lose(task, reason, gone=task.lost_from is not None)
    else:
        code = Code.LOST if task.fence else Code.TASK_TIMEOUT
        moves.refuse(task, Error(code, f"never given to its node: {reason}", {"node": task.node.id}))
