"""Makes the tasks of a run, a chunk a transaction, so that a run over the whole fleet never holds the writer for long.

The nodes that are still to get a task are kept in the store's settings until the last one has; a server that dies in
between goes on at its next start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.runs import Run, RunCreated
from gamenode_pipelines.states import RunState
from gamenode_pipelines.task_state import NodeFacts, Task, new_task
from gamenode_server.controller.effects import ContinueRun
from gamenode_server.controller.moves import CHUNK, Moves
from gamenode_server.controller.slots import node_facts
from gamenode_server.store.tx import Tx

_KEY = "fanout."


def begin_fanout(
    tx: Tx,
    moves: Moves,
    run: Run,
    plan: Plan,
    node_ids: Sequence[str],
    groups: Mapping[str, str] | None = None,
) -> Sequence[Task]:
    """Stores the run and the first of its tasks; with the last of them it starts. Returns those that were made.

    `groups` has the group of each task, by node id.
    """
    return _make(tx, moves, run, plan, [(node_id, (groups or {}).get(node_id, "")) for node_id in node_ids], position=0)


def continue_fanout(tx: Tx, moves: Moves, run: Run) -> bool:
    """Makes the next tasks of a run that is not whole yet. False where it is."""
    kept = tx.meta(_KEY + run.id)
    if not kept:
        return False
    position, *places = json.loads(kept)
    _make(tx, moves, run, moves.plan(run), [(node_id, group) for node_id, group in places], position=position)
    return True


def cut_fanout(tx: Tx, moves: Moves, run: Run) -> None:
    """Leaves a run that is not whole with the tasks it has: whoever cancels it wants no more of them."""
    kept = tx.meta(_KEY + run.id)
    if kept and run.state is RunState.PENDING:
        tx.put_meta(_KEY + run.id, "")
        moves.shrink(run.id, total=int(json.loads(kept)[0]))
        moves.run_event(run.id, RunCreated())


def _make(
    tx: Tx, moves: Moves, run: Run, plan: Plan, places: Sequence[tuple[str, str]], *, position: int
) -> Sequence[Task]:
    now, rest = places[:CHUNK], places[CHUNK:]
    entropy = os.urandom(ENTROPY_BYTES * len(now))
    made = [
        new_task(
            id=make_id(entropy[at * ENTROPY_BYTES : (at + 1) * ENTROPY_BYTES]),
            run_id=run.id,
            node=_facts(tx, node_id),
            plan=plan,
            created_at=tx.now,
            position=position + at,
            group=group,
        )
        for at, (node_id, group) in enumerate(now)
    ]
    moves.add_tasks(run, made)
    key = _KEY + run.id
    if rest:
        tx.put_meta(key, json.dumps([position + len(now), *rest]))
        moves.effect(ContinueRun(run.id))
    else:
        if position:
            tx.put_meta(key, "")
        moves.run_event(run.id, RunCreated())
    return made


def _facts(tx: Tx, node_id: str) -> NodeFacts:
    node = tx.node(node_id)
    # A node that was removed since it was chosen: its task is refused as soon as it is due.
    return node_facts(node) if node is not None else NodeFacts(id=node_id, name=node_id)
