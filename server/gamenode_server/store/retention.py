"""What is deleted when it is old: ended runs with their tasks, events and bundles, fleet events, answers.

Deletes in small operations, so that the writer is never held up. Knows nothing of logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gamenode_pipelines.states import RunState
from gamenode_server.store import schema
from gamenode_server.store.memory import PRUNED_KEY
from gamenode_server.store.transaction import ANSWER_LIFE, BUNDLE_USE_STEP, Transaction

DAY = 86_400.0
RUNS_AT_ONCE = 20
EVENTS_AT_ONCE = 2000

_runs, _tasks, _events = schema.runs.c, schema.tasks.c, schema.events.c
_bundles, _requests = schema.bundles.c, schema.requests.c


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept; seconds."""

    runs: float = 30 * DAY
    failed_runs: float = 90 * DAY
    events: float = 30 * DAY


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one operation deleted. `more`: call again."""

    runs: tuple[str, ...] = ()
    more: bool = False


def prune(tx: Transaction, retention: Retention) -> Pruned:
    """Deletes one chunk of what is too old at `tx.now`. Call it until it answers without `more`."""
    now = tx.now
    run_ids = tx.query(lambda connection: _expired_runs(connection, now, retention))
    cursors = tx.query(lambda connection: _expired_fleet_events(connection, now - retention.events))
    if run_ids:
        tx.defer(sa.delete(schema.events).where(_events.run_id.in_(run_ids)))
        tx.defer(sa.delete(schema.tasks).where(_tasks.run_id.in_(run_ids)))
        tx.defer(sa.delete(schema.runs).where(_runs.id.in_(run_ids)))
        tx.forget_runs(run_ids)
    if cursors:
        tx.defer(sa.delete(schema.events).where(_events.cursor.in_(cursors)))
    newest = max([*cursors, tx.query(lambda connection: _newest_event(connection, run_ids))])
    if newest > int(tx.meta(PRUNED_KEY) or 0):
        tx.put_meta(PRUNED_KEY, str(newest))
    more = len(run_ids) == RUNS_AT_ONCE or len(cursors) == EVENTS_AT_ONCE
    if not more:
        # Kept as long as the run that could be the last one to have used it.
        oldest = now - max(retention.runs, retention.failed_runs) - 2 * BUNDLE_USE_STEP
        tx.drop_bundles(tx.query(lambda connection: _unused_bundles(connection, oldest)))
        tx.defer(sa.delete(schema.requests).where(_requests.created_at < now - ANSWER_LIFE))
    return Pruned(tuple(run_ids), more)


def _expired_runs(connection: sa.Connection, now: float, retention: Retention) -> list[str]:
    conditions = []
    for state in (state for state in RunState if state.ended):
        before = now - (retention.failed_runs if state is RunState.FAILED else retention.runs)
        # A run that ended before was also made before, and that is what the index is on.
        conditions.append(sa.and_(_runs.state == state.value, _runs.created_at < before, _runs.finished_at < before))
    statement = sa.select(_runs.id).where(sa.or_(*conditions)).order_by(_runs.created_at).limit(RUNS_AT_ONCE)
    return [row[0] for row in connection.execute(statement)]


def _expired_fleet_events(connection: sa.Connection, before: float) -> list[int]:
    statement = (
        sa.select(_events.cursor, _events.stored_at)
        .where(_events.run_id == "")
        .order_by(_events.cursor)
        .limit(EVENTS_AT_ONCE)
    )
    return [cursor for cursor, stored_at in connection.execute(statement) if stored_at < before]


def _newest_event(connection: sa.Connection, run_ids: Sequence[str]) -> int:
    newest = sa.select(sa.func.max(_events.cursor)).where(_events.run_id == sa.bindparam("run"))
    return max((connection.execute(newest, {"run": run_id}).scalar() or 0 for run_id in run_ids), default=0)


def _unused_bundles(connection: sa.Connection, before: float) -> list[str]:
    statement = sa.select(_bundles.digest).where(_bundles.used_at < before).limit(EVENTS_AT_ONCE)
    return [digest for (digest,) in connection.execute(statement)]
