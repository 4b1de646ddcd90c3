"""A batch of operations on its way to one commit: the `Tx` that operations see, and what they changed.

Operations read and change the writer's `HotCache` in place. A journal keeps what was there before, so that an
operation that raises, or a batch that cannot be stored, leaves nothing. What changed is collected by table, the last
change of a record wins, and is written once, when the batch is flushed. Owns no connection's life and no commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPICursor

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1 import work_pb2
from gamenode_server.records import JoinToken, NewAudit, NewEvent, Node, PipelineVersion, User
from gamenode_server.store import rows, schema
from gamenode_server.store.commits import Commit
from gamenode_server.store.memory import Memory, Sequences
from gamenode_server.store.statements import Row, Statements

R = TypeVar("R")

#: How long a request's answer is remembered; seconds.
ANSWER_LIFE = 86_400.0
#: A bundle's use is written down again after so many seconds.
BUNDLE_USE_STEP = 86_400.0

_CLEAN: Final = object()


class Transaction:
    """Implements `tx.Tx` for one batch; see there for its methods."""

    def __init__(
        self,
        memory: Memory,
        connection: sa.Connection,
        cursor: DBAPICursor,
        statements: Statements,
        sequences: Sequences,
    ) -> None:
        self.now = 0.0
        #: Where the database will be when this batch is stored.
        self.sequences = sequences
        #: The stored events with their cursors, once flushed.
        self.stored: list[work_pb2.Event] = []
        self.effects: list[object] = []
        self.touched: set[str] = set()
        self._loaded: list[tuple[Run, Sequence[Task]]] = []
        self._memory = memory
        self._cache = memory.cache
        self._connection = connection
        self._cursor = cursor
        self._statements = statements
        self._events: list[tuple[NewEvent, float]] = []
        self._audits: list[tuple[NewAudit, float]] = []
        self._deferred: list[tuple[sa.Executable, Mapping[str, Any] | None]] = []
        self._forgotten: list[str] = []
        self._meta: dict[str, str] = {}
        self._nodes: dict[str, Node | None] = {}
        self._pipelines: dict[tuple[str, int], PipelineVersion] = {}
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, Task] = {}
        self._bundles: dict[str, tuple[bytes, float]] = {}
        self._tokens: dict[str, JoinToken] = {}
        self._users: dict[str, User] = {}
        self._answers: dict[tuple[str, str], tuple[str, str, float]] = {}
        # (changed table, key, its change before, what puts memory back, the record before)
        self._journal: list[tuple[dict[Any, Any], Any, Any, Callable[[Any, Any], None], Any]] = []

    # -- the batch's side ---------------------------------------------------------------------------------------------

    def perform(self, operation: Callable[[Transaction], R], now: float) -> R:
        """Runs one operation at `now`. If it raises, nothing of it remains."""
        self.now = now
        events, audits, effects = len(self._events), len(self._audits), len(self.effects)
        deferred, forgotten, journal = len(self._deferred), len(self._forgotten), len(self._journal)
        try:
            return operation(self)
        except BaseException:
            del self._events[events:], self._audits[audits:], self.effects[effects:]
            del self._deferred[deferred:], self._forgotten[forgotten:]
            self._undo(journal)
            raise

    def flush(self) -> bool:
        """Writes what the batch changed. False where there is nothing to write."""
        if not (self._journal or self._events or self._audits or self._deferred):
            return False
        failpoint("store.flush")
        if not self._connection.in_transaction():
            self._connection.begin()
        put = self._statements
        for statement, parameters in self._deferred:
            self._connection.execute(statement, parameters)
        self._write(put.remove_node, [(id_,) for id_, node in self._nodes.items() if node is None])
        self._write(put.put_node, [rows.node_row(node) for node in self._nodes.values() if node is not None])
        self._write(put.put_pipeline, [rows.pipeline_row(pipeline) for pipeline in self._pipelines.values()])
        self._write(put.put_run, [rows.run_row(run) for run in self._runs.values()])
        self._write(put.put_task, [rows.task_row(task) for task in self._tasks.values()])
        self._write(put.put_bundle, [(digest, *bundle) for digest, bundle in self._bundles.items()])
        self._write(put.put_token, [rows.token_row(token) for token in self._tokens.values()])
        self._write(put.put_user, [rows.user_row(user) for user in self._users.values()])
        self._write(put.put_answer, [(*key, *answer) for key, answer in self._answers.items()])
        event_rows: list[Row] = []
        for event, now in self._events:
            message = rows.event_message(event, cursor=self.sequences.next_cursor(), now=now)
            self.stored.append(message)
            event_rows.append(rows.event_row(message, now))
        self._write(put.put_event, event_rows)
        self._write(put.put_audit, [rows.audit_row(self.sequences.chain(new, now)) for new, now in self._audits])
        self.sequences.time = max(self.sequences.time, self.now)
        self._write(put.put_meta, [*self._meta.items(), self.sequences.row()])
        return True

    def undo(self) -> None:
        """Puts memory back to before the batch."""
        self._undo(0)
        for run, _ in self._loaded:
            self._cache.forget_run(run.id)

    def committed(self) -> Commit:
        """What the batch changed, after its commit."""
        return Commit(
            events=self.stored,
            effects=self.effects,
            runs=self._runs,
            tasks=self._tasks,
            nodes=self._nodes,
            pipelines=self._pipelines,
            users=self._users,
            forgotten_runs=self._forgotten,
            loaded=self._loaded,
            touched=self.touched,
        )

    def _write(self, sql: str, parameters: list[Row]) -> None:
        if parameters:
            self._cursor.executemany(sql, parameters)

    def _undo(self, mark: int) -> None:
        journal = self._journal
        while len(journal) > mark:
            changes, key, change, restore, old = journal.pop()
            if change is _CLEAN:
                changes.pop(key, None)
            else:
                changes[key] = change
            restore(key, old)

    def _note(
        self, changes: dict[Any, Any], key: Any, record: Any, restore: Callable[[Any, Any], None], old: Any
    ) -> None:
        self._journal.append((changes, key, changes.get(key, _CLEAN), restore, old))
        changes[key] = record

    def _one(self, sql: str, *key: Any) -> Any:
        self._cursor.execute(sql, key)
        return self._cursor.fetchone()

    # -- meta ---------------------------------------------------------------------------------------------------------

    def meta(self, key: str) -> str:
        """See `Tx`."""
        return self._cache.meta.get(key, "")

    def put_meta(self, key: str, value: str) -> None:
        """See `Tx`."""
        old = self._cache.meta.get(key)
        if old != value:
            self._note(self._meta, key, value, self._memory.restore_meta, old)
            self._cache.meta[key] = value

    # -- runs and tasks -----------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run | None:
        """See `Tx`."""
        if not self._cache.has_run(run_id):
            self._load(run_id)
        return self._cache.run(run_id)

    def put_run(self, run: Run) -> None:
        """See `Tx`. A run that was not read before is taken to be new."""
        self._note(self._runs, run.id, run, self._memory.restore_run, self._cache.run(run.id))
        self._cache.set_run(run)
        self.touched.add(run.id)

    def live_runs(self) -> Sequence[Run]:
        """See `Tx`."""
        return self._cache.live_runs()

    def task(self, task_id: str) -> Task | None:
        """See `Tx`."""
        task = self._cache.task(task_id)
        if task is None:
            row = self._one(self._statements.run_of_task, task_id)
            if row is not None and not self._cache.has_run(row[0]):
                self._load(row[0])
                task = self._cache.task(task_id)
        return task

    def put_task(self, task: Task) -> None:
        """See `Tx`."""
        if not self._cache.has_run(task.run_id):
            self._load(task.run_id)
        self._note(self._tasks, task.id, task, self._memory.restore_task, self._cache.task(task.id))
        self._cache.set_task(task)
        self.touched.add(task.run_id)

    def tasks_of(self, run_id: str) -> Sequence[Task]:
        """See `Tx`."""
        if not self._cache.has_run(run_id):
            self._load(run_id)
        return self._cache.tasks_of(run_id)

    def live_tasks_of(self, run_id: str) -> Sequence[Task]:
        """See `Tx`."""
        return self._cache.live_tasks_of(run_id)

    def live_tasks_on(self, node_id: str) -> Sequence[Task]:
        """See `Tx`."""
        return self._cache.live_tasks_on(node_id)

    def live_tasks_in(self, group: str) -> Sequence[Task]:
        """See `Tx`."""
        return self._cache.live_tasks_in(group)

    def forget_runs(self, run_ids: Iterable[str]) -> None:
        """Drops runs from memory with the commit; their rows are the caller's to delete, with `defer`."""
        self._forgotten.extend(run_ids)

    def drop_bundles(self, digests: Iterable[str]) -> None:
        """Deletes those bundles that no run in memory uses."""
        used = self._cache.bundles_in_use(but=set(self._forgotten))
        unused = [digest for digest in digests if digest not in used]
        for digest in unused:
            self._memory.bundles.drop(digest)  # so that a new run stores it anew
        self.defer(sa.delete(schema.bundles).where(schema.bundles.c.digest.in_(unused)))

    def defer(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> None:
        """Has a statement run before the batch's writes: for deletes of what no operation of the batch may use."""
        self._deferred.append((statement, parameters))

    def query(self, query: Callable[[sa.Connection], R]) -> R:
        """Runs a query of `queries` on what is committed; the batch's own changes are not in it."""
        return query(self._connection)

    def _load(self, run_id: str) -> None:
        row = self._one(self._statements.run, run_id)
        if row is not None:
            self._cursor.execute(self._statements.tasks_of, (run_id,))
            run, tasks = rows.run_of(row[0]), [rows.task_of(record) for (record,) in self._cursor.fetchall()]
            self._cache.set_run(run)
            for task in tasks:
                self._cache.set_task(task)
            self._loaded.append((run, tasks))
            self.touched.add(run_id)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def node(self, node_id: str) -> Node | None:
        """See `Tx`."""
        return self._cache.node(node_id)

    def node_named(self, name: str) -> Node | None:
        """See `Tx`."""
        return self._cache.node_named(name)

    def nodes(self) -> Sequence[Node]:
        """See `Tx`."""
        return self._cache.nodes()

    def put_node(self, node: Node) -> None:
        """See `Tx`. Refuses a name that another node has."""
        other = self._cache.node_named(node.name)
        if other is not None and other.id != node.id:
            raise GameNodeError(
                Code.ALREADY_EXISTS, f"there is a node {node.name!r} already", details={"node": other.id}
            )
        self._note(self._nodes, node.id, node, self._memory.restore_node, self._cache.node(node.id))
        self._cache.set_node(node)

    def remove_node(self, node_id: str) -> None:
        """See `Tx`."""
        old = self._cache.node(node_id)
        if old is not None:
            self._note(self._nodes, node_id, None, self._memory.restore_node, old)
            self._cache.drop_node(node_id)
            self.defer(sa.delete(schema.artifacts).where(schema.artifacts.c.node_id == node_id))  # gone with it

    # -- pipelines and bundles ----------------------------------------------------------------------------------------

    def pipeline(self, name: str, version: int = 0) -> PipelineVersion | None:
        """See `Tx`."""
        newest = self._cache.pipelines.get(name)
        if newest is None or version in (0, newest.version):
            return newest
        changed = self._pipelines.get((name, version))
        if changed is not None:
            return changed
        row = self._one(self._statements.pipeline, name, version)
        return rows.pipeline_of(row) if row is not None else None

    def put_pipeline(self, pipeline: PipelineVersion) -> None:
        """See `Tx`. Refuses any version but the one after the newest."""
        newest = self._cache.pipelines.get(pipeline.name)
        due = newest.version + 1 if newest is not None else 1
        if pipeline.version != due:
            raise GameNodeError(
                Code.STATE_CONFLICT, f"the next version of pipeline {pipeline.name!r} is {due}, not {pipeline.version}"
            )
        key = (pipeline.name, pipeline.version)
        self._note(self._pipelines, key, pipeline, self._memory.restore_pipeline, newest)
        self._cache.pipelines[pipeline.name] = pipeline

    def bundle(self, digest: str) -> bytes | None:
        """See `Tx`."""
        bundle = self._memory.bundles.get(digest) or self._load_bundle(digest)
        return bundle[0] if bundle is not None else None

    def put_bundle(self, digest: str, data: bytes) -> None:
        """See `Tx`."""
        old = self._memory.bundles.get(digest)
        if old is None or old[1] < self.now - BUNDLE_USE_STEP:
            self._note(self._bundles, digest, (data, self.now), self._memory.restore_bundle, old)
            self._memory.bundles.add(digest, (data, self.now))

    def _load_bundle(self, digest: str) -> tuple[bytes, float] | None:
        row = self._one(self._statements.bundle, digest)
        if row is None:
            return None
        bundle = (bytes(row[0]), float(row[1]))
        self._memory.bundles.add(digest, bundle)
        return bundle

    # -- tokens, users and answers ------------------------------------------------------------------------------------

    def token(self, token_id: str) -> JoinToken | None:
        """See `Tx`."""
        token = self._memory.tokens.get(token_id)
        if token is None:
            row = self._one(self._statements.token, token_id)
            if row is not None:
                token = self._memory.tokens[token_id] = rows.token_of(row)
        return token

    def put_token(self, token: JoinToken) -> None:
        """See `Tx`."""
        self._note(self._tokens, token.id, token, self._memory.restore_token, self._memory.tokens.get(token.id))
        self._memory.tokens[token.id] = token

    def user(self, name: str) -> User | None:
        """See `Tx`."""
        return self._cache.users.get(name)

    def put_user(self, user: User) -> None:
        """See `Tx`."""
        self._note(self._users, user.name, user, self._memory.restore_user, self._cache.users.get(user.name))
        self._cache.users[user.name] = user

    def answer(self, principal: str, request_id: str) -> tuple[str, str] | None:
        """See `Tx`."""
        key = (principal, request_id)
        answer = self._memory.answers.get(key)
        if answer is None:
            row = self._one(self._statements.answer, principal, request_id)
            if row is None:
                return None
            answer = self._memory.answers[key] = (row[0], row[1], row[2])
        return answer[:2] if answer[2] > self.now - ANSWER_LIFE else None

    def put_answer(self, principal: str, request_id: str, request_sha256: str, made: str) -> None:
        """See `Tx`."""
        key, answer = (principal, request_id), (request_sha256, made, self.now)
        self._note(self._answers, key, answer, self._memory.restore_answer, self._memory.answers.get(key))
        self._memory.answers[key] = answer

    # -- what follows -------------------------------------------------------------------------------------------------

    def emit(self, events: Iterable[NewEvent]) -> None:
        """See `Tx`."""
        now = self.now
        self._events.extend((event, now) for event in events)

    def audit(self, record: NewAudit) -> None:
        """See `Tx`."""
        self._audits.append((record, self.now))

    def effect(self, effect: object) -> None:
        """See `Tx`."""
        self.effects.append(effect)
