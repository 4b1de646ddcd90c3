"""Lists and searches, for `store.read(query, …)`: plain functions of a read-only connection.

They see what is committed, and answer with `v1` messages, ready to be sent. What an operation decides on, it reads
through its `Tx` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.ids import ID_LENGTH, MIN_PREFIX
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import pipeline_management_pb2, work_pb2
from gamenode_server.hub import EVERYTHING, EventFilter, EventPage
from gamenode_server.records import Node, PipelineVersion
from gamenode_server.store import rows, schema
from gamenode_server.store.audit_chain import AuditRow
from gamenode_server.store.memory import PRUNED_KEY
from gamenode_server.store.names import CANDIDATES, ambiguous, missing

MAX_LIMIT = 1000

_runs = schema.runs.c
_events = schema.events.c
_audit = schema.audit.c
_pipelines = schema.pipelines.c


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first, and whether there are older ones."""

    runs: Sequence[work_pb2.Run]
    more: bool


def list_runs(
    connection: sa.Connection, *, state: str = "", pipeline: str = "", limit: int = 0, after: str = ""
) -> RunPage:
    """Runs, newest first; `after` is the id of the run to continue behind."""
    if state and state not in set(RunState):
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"{state!r} is not a state of runs; these are: {', '.join(RunState)}"
        )
    limit = _limit(limit)
    statement = sa.select(_runs.record).order_by(_runs.created_at.desc(), _runs.id.desc()).limit(limit + 1)
    if state:
        statement = statement.where(_runs.state == state)
    if pipeline:
        statement = statement.where(_runs.pipeline == pipeline)
    if after:
        place = connection.execute(sa.select(_runs.created_at).where(_runs.id == after)).scalar()
        if place is None:
            raise missing("run", after)
        statement = statement.where(
            sa.or_(_runs.created_at < place, sa.and_(_runs.created_at == place, _runs.id < after))
        )
    found = [work_pb2.Run.FromString(record) for (record,) in connection.execute(statement)]
    return RunPage(found[:limit], len(found) > limit)


def run_document(connection: sa.Connection, run_id: str) -> pipeline_management_pb2.RunDocument | None:
    """A run with its tasks by position, by its whole id; without `logs`, which the store does not know."""
    record = connection.execute(sa.select(_runs.record).where(_runs.id == run_id)).scalar()
    if record is None:
        return None
    tasks = schema.tasks.c
    statement = sa.select(tasks.record).where(tasks.run_id == run_id).order_by(tasks.position)
    return pipeline_management_pb2.RunDocument(
        run=work_pb2.Run.FromString(record),
        tasks=[work_pb2.Task.FromString(task) for (task,) in connection.execute(statement)],
    )


def runs_named(connection: sa.Connection, run_ids: Sequence[str]) -> list[work_pb2.Run]:
    """Those of the runs that there are, by their whole ids."""
    found: list[work_pb2.Run] = []
    for first in range(0, len(run_ids), MAX_LIMIT):
        statement = sa.select(_runs.record).where(_runs.id.in_(run_ids[first : first + MAX_LIMIT]))
        found.extend(work_pb2.Run.FromString(record) for (record,) in connection.execute(statement))
    return found


def runs_by_state(connection: sa.Connection) -> dict[str, int]:
    """How many runs are in each state that occurs."""
    statement = sa.select(_runs.state, sa.func.count()).group_by(_runs.state)
    return {row[0]: row[1] for row in connection.execute(statement)}


def durations(connection: sa.Connection, *, pipeline: str, limit: int) -> list[float]:
    """What the newest runs of a pipeline that succeeded have taken, seconds."""
    statement = (
        sa.select(_runs.record)
        .where(_runs.pipeline == pipeline, _runs.state == RunState.SUCCEEDED.value)
        .order_by(_runs.created_at.desc())
        .limit(limit)
    )
    found = [work_pb2.Run.FromString(record) for record in connection.execute(statement).scalars()]
    return [run.finished_at - run.started_at for run in found if run.started_at]


def run_ends(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, tuple[float, RunState]]:
    """When those of the runs ended that have, and as what."""
    ends: dict[str, tuple[float, RunState]] = {}
    for first in range(0, len(run_ids), MAX_LIMIT):
        wanted = _runs.id.in_(run_ids[first : first + MAX_LIMIT])
        for run_id, at, word in connection.execute(sa.select(_runs.id, _runs.finished_at, _runs.state).where(wanted)):
            state = RunState(word)
            if state.ended:
                ends[run_id] = (at, state)
    return ends


def list_events(
    connection: sa.Connection, *, after: int = 0, only: EventFilter = EVERYTHING, limit: int = 0
) -> EventPage:
    """Events behind the cursor `after`, by cursor."""
    limit = _limit(limit)
    begin = (
        after if not only.since else max(after, _last_before(connection, _events.cursor, _events.stored_at, only.since))
    )
    statement = sa.select(_events.record).where(_events.cursor > begin).order_by(_events.cursor).limit(limit + 1)
    if only.run_id:
        statement = statement.where(_events.run_id == only.run_id)
    if only.node_id:
        statement = statement.where(_events.node_id == only.node_id)
    if only.types:
        kinds = [(_events.type == t) | _events.type.startswith(t + ".", autoescape=True) for t in only.types]
        statement = statement.where(sa.or_(*kinds))
    if only.since:
        statement = statement.where(_events.time >= only.since)
    if only.until:
        statement = statement.where(_events.time <= only.until)
    newest = connection.execute(sa.select(sa.func.max(_events.cursor))).scalar() or 0
    found = [work_pb2.Event.FromString(record) for (record,) in connection.execute(statement)]
    more = len(found) > limit
    found = found[:limit]
    cursor = found[-1].cursor if more else max(after, newest)
    return EventPage(found, cursor, more, bool(after) and after < pruned_cursor(connection))


def pruned_cursor(connection: sa.Connection) -> int:
    """The highest cursor of an event that was deleted; 0 if none was."""
    value = connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.key == PRUNED_KEY)).scalar()
    return int(value or 0)


def list_audit(
    connection: sa.Connection, *, since: float = 0.0, user: str = "", node: str = "", limit: int = 0
) -> list[AuditRow]:
    """The newest audit rows, oldest of them first. `node` is what the row's target or request names."""
    statement = sa.select(schema.audit).order_by(_audit.seq.desc()).limit(_limit(limit))
    if since:
        statement = statement.where(_audit.seq > _last_before(connection, _audit.seq, _audit.time, since))
    if user:
        statement = statement.where(_audit.principal == user)
    if node:
        statement = statement.where(
            sa.or_(_audit.target == node, _audit.request.contains(f'"{node}"', autoescape=True))
        )
    return [AuditRow(*row) for row in reversed(connection.execute(statement).fetchall())]


def audit_rows(connection: sa.Connection, *, after: int = 0, limit: int = 0) -> list[AuditRow]:
    """Audit rows in the order of the chain, behind row `after`: for verifying it."""
    statement = sa.select(schema.audit).where(_audit.seq > after).order_by(_audit.seq).limit(_limit(limit))
    return [AuditRow(*row) for row in connection.execute(statement)]


def list_pipelines(connection: sa.Connection) -> list[pipeline_management_pb2.PipelineSummary]:
    """The newest version of every pipeline by name, without its text, each with its last run."""
    newest = sa.select(_pipelines.name, sa.func.max(_pipelines.version)).group_by(_pipelines.name)
    statement = (
        sa.select(schema.pipelines)
        .where(sa.tuple_(_pipelines.name, _pipelines.version).in_(newest), _pipelines.text != "")
        .order_by(_pipelines.name)
    )
    last = (
        sa.select(_runs.record).where(_runs.pipeline == sa.bindparam("name")).order_by(_runs.created_at.desc()).limit(1)
    )
    found = []
    for row in connection.execute(statement).fetchall():
        pipeline = rows.pipeline_of(row)
        record = connection.execute(last, {"name": pipeline.name}).scalar()
        found.append(
            pipeline_management_pb2.PipelineSummary(
                pipeline=pipeline_management_pb2.Pipeline(
                    name=pipeline.name,
                    version=pipeline.version,
                    description=pipeline.description,
                    created_at=pipeline.created_at,
                    created_by=pipeline.created_by,
                    sha256=pipeline.sha256,
                    shipped=pipeline.shipped,
                ),
                last_run=work_pb2.Run.FromString(record) if record is not None else None,
            )
        )
    return found


def pipeline_versions(connection: sa.Connection, name: str) -> list[PipelineVersion]:
    """Every version of a pipeline, newest first."""
    statement = sa.select(schema.pipelines).where(_pipelines.name == name).order_by(_pipelines.version.desc())
    return [rows.pipeline_of(row) for row in connection.execute(statement)]


def resolve_run(connection: sa.Connection, text: str) -> str:
    """The id of the run that `text` stands for: a whole id, or a prefix (at least 4 characters) of only one.

    Raises GameNodeError: NOT_FOUND, or INVALID_ARGUMENT with the candidates.
    """
    exact = connection.execute(sa.select(_runs.id).where(_runs.id == text)).scalar()
    if exact is not None:
        return str(exact)
    found: Sequence[Any] = ()
    if MIN_PREFIX <= len(text) < ID_LENGTH and text.isalnum() and text.isascii():
        # A range, which an index serves, where LIKE would not: "~" is behind every letter and digit.
        prefix = sa.select(_runs.id, _runs.pipeline).where(_runs.id >= text, _runs.id < text + "~")
        found = connection.execute(prefix.order_by(_runs.created_at.desc()).limit(CANDIDATES + 1)).fetchall()
    if len(found) > 1:
        raise ambiguous("run", text, [f"{id_} ({pipeline})" for id_, pipeline in found])
    if not found:
        raise missing("run", text)
    return str(found[0][0])


def list_nodes(connection: sa.Connection) -> list[Node]:
    """Every node by name."""
    statement = sa.select(schema.nodes.c.record).order_by(schema.nodes.c.name)
    return [rows.node_of(record) for (record,) in connection.execute(statement)]


def _last_before(connection: sa.Connection, key: sa.Column[Any], time: sa.Column[Any], since: float) -> int:
    """The last key whose time is before `since`, where times grow with keys: by bisection, as there is no index."""
    low, high = connection.execute(sa.select(sa.func.min(key), sa.func.max(key))).one()
    if low is None:
        return 0
    at = sa.select(key, time).where(key >= sa.bindparam("key")).order_by(key).limit(1)
    low -= 1
    while low < high:
        middle = (low + high + 1) // 2
        found, when = connection.execute(at, {"key": middle}).one()
        if when < since:
            low = found
        else:
            high = middle - 1
    return int(low)


def _limit(limit: int) -> int:
    return min(limit, MAX_LIMIT) if limit > 0 else MAX_LIMIT
