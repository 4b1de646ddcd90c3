"""The writer thread's side of the store: opens a batch, runs its operations, makes it durable, heals a full disk.

Owns the one read-write connection and the writer's memory. Everything here runs on the writer's thread, but opening.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gamenode_pipelines.states import RunState
from gamenode_proto.process.clock import Clock, SystemClock
from gamenode_proto.process.failpoints import failpoint
from gamenode_server.records import User
from gamenode_server.store import engine, rows, schema
from gamenode_server.store.audit_chain import GENESIS
from gamenode_server.store.engine import Health
from gamenode_server.store.memory import Memory, Sequences
from gamenode_server.store.migrate import prepare_schema
from gamenode_server.store.statements import Statements
from gamenode_server.store.transaction import Transaction

logger = logging.getLogger(__name__)

#: How often a full disk is looked at while there is other work.
PROBE_SECONDS = 1.0
#: A disk that was full has space again when it has this much: a small row may fit where the next one does not.
ROOM_BYTES = 128 << 10


class Backend:
    """A `writer.Backend` on one database."""

    def __init__(self, path: Path | str, *, clock: Clock | None, audit_key: bytes) -> None:
        """Opens the database, which makes, migrates or refuses it (GameNodeError), and reads what stays in memory."""
        self.health = Health.OK
        #: Called on the writer's thread with each change of `health`.
        self.on_health: Callable[[Health], None] = _ignore
        #: Called on the writer's thread with the seconds that each commit took.
        self.on_commit: Callable[[float], None] = _ignore
        self._in_memory = path == engine.MEMORY
        self._path = path
        if not self._in_memory:
            engine.check_header(Path(path))
        self._engine = engine.sqlite_writer(path)
        try:
            self._connection = self._engine.connect()
            engine.check_database(self._connection, path)
            self._connection.rollback()
            prepare_schema(self._connection, path)
            self.memory = Memory()
            self._sequences = self._load(audit_key)
            self._connection.rollback()
        except BaseException as error:
            self._engine.dispose()
            health = engine.ailment(error)
            if health is not Health.OK:
                raise engine.refusal(health, error) from error
            raise
        self._statements = Statements(self._engine.dialect)
        self._cursor = self._connection.connection.cursor()
        self._errors = (sa.exc.DBAPIError, self._engine.dialect.loaded_dbapi.Error, OSError)
        self.clock = clock or SystemClock(not_before=self._sequences.time)
        self._now = self._sequences.time
        self._probed = 0.0
        self._checkpointed = True

    @property
    def connection(self) -> sa.Connection:
        """The read-write connection, for the writer's thread."""
        return self._connection

    @property
    def sequences(self) -> Sequences:
        """The counters as of the last commit."""
        return self._sequences

    def begin(self) -> Transaction:
        """See `writer.Backend`. The database's own transaction begins with the first statement."""
        if self.health is Health.READ_ONLY:
            raise engine.refusal(self.health, RuntimeError("it failed earlier"))
        return Transaction(self.memory, self._connection, self._cursor, self._statements, self._sequences.copy())

    def run(self, tx: Transaction, operation: Callable[[Transaction], Any]) -> Any:
        """See `writer.Backend`."""
        self._now = max(self._now, self.clock.now())
        try:
            return tx.perform(operation, self._now)
        except self._errors as error:
            raise self._translated(error) from error

    def commit(self, tx: Transaction) -> None:
        """See `writer.Backend`. Raises GameNodeError STORAGE_FULL where there is no space."""
        began = time.monotonic()
        try:
            if not tx.flush():
                self._connection.rollback()
                self.memory.cache.settle(tx.touched)
                self._look_for_space()
                return
            failpoint("store.commit")
            self._connection.commit()
        except self._errors as error:
            raise self._translated(error) from error
        self.on_commit(time.monotonic() - began)
        failpoint("store.committed")
        self._sequences = tx.sequences
        self._checkpointed = False
        self._recovered()
        commit = tx.committed()
        for run_id in commit.forgotten_runs:
            self.memory.cache.forget_run(run_id)
        self.memory.cache.settle(commit.touched)
        self.memory.trim()

    def rollback(self, tx: Transaction) -> None:
        """See `writer.Backend`."""
        tx.undo()
        self._abandon()

    def idle(self) -> bool:
        """Nobody writes: looks whether a full disk has space again, or makes a checkpoint. True: call again."""
        if self.health is Health.STORAGE_FULL:
            self._probe()
        if self.health is not Health.OK or self._in_memory or self._checkpointed:
            return self.health is Health.STORAGE_FULL
        self._checkpointed = self._checkpoint()
        return not self._checkpointed

    def close(self) -> None:
        """See `writer.Backend`."""
        if not self._in_memory and self.health is Health.OK:
            self._checkpoint(last=True)
        self._cursor.close()  # else its last statement keeps the file open
        self._connection.close()
        self._engine.dispose()

    def _abandon(self) -> None:
        self._connection.rollback()
        # After a COMMIT that failed SQLAlchemy takes the transaction for ended; the database does not.
        self._connection.connection.rollback()

    def _checkpoint(self, *, last: bool = False) -> bool:
        try:
            return engine.checkpoint(self._connection, last=last)
        except self._errors as error:  # a damaged file: the thread lives, and every operation is told
            logger.error("no checkpoint: %s", error)
            self._translated(error)
            return False

    def _look_for_space(self) -> None:
        """Where operations that write nothing come too often for `idle`, and nobody dares to write."""
        if self.health is Health.STORAGE_FULL and time.monotonic() - self._probed >= PROBE_SECONDS:
            self._probe()

    def _probe(self) -> None:
        self._probed = time.monotonic()
        try:
            self._connection.exec_driver_sql(self._statements.put_meta, [self._sequences.row()])
            self._connection.commit()
        except self._errors as error:
            logger.debug("the disk is still full: %s", error)
            self._abandon()
        else:
            self._recovered()

    def _recovered(self) -> None:
        """A commit worked: the store is well, unless its disk was full and has hardly more space than that took."""
        if self.health is Health.OK:
            return
        if not self._in_memory:
            disk = os.statvfs(self._path)
            if disk.f_bavail * disk.f_frsize < ROOM_BYTES:
                return
        self._set_health(Health.OK)

    def _translated(self, error: Exception) -> Exception:
        health = engine.ailment(error)
        if health is Health.OK:
            return error
        self._set_health(health)
        return engine.refusal(health, error)

    def _set_health(self, health: Health) -> None:
        if health is not self.health:
            level = logging.INFO if health is Health.OK else logging.ERROR
            logger.log(level, "the store is %s, was %s", health, self.health)
            self.health = health
            self.on_health(health)

    def _load(self, audit_key: bytes) -> Sequences:
        connection, cache = self._connection, self.memory.cache
        runs, tasks = schema.runs.c, schema.tasks.c
        for key, value in connection.execute(sa.select(schema.meta.c.key, schema.meta.c.value)):
            cache.meta[key] = value
        for (record,) in connection.execute(sa.select(schema.nodes.c.record)):
            cache.set_node(rows.node_of(record))
        newest = sa.select(schema.pipelines.c.name, sa.func.max(schema.pipelines.c.version)).group_by(
            schema.pipelines.c.name
        )
        of_newest = sa.tuple_(schema.pipelines.c.name, schema.pipelines.c.version).in_(newest)
        for row in connection.execute(sa.select(schema.pipelines).where(of_newest)):
            cache.pipelines[row[0]] = rows.pipeline_of(row)
        for row in connection.execute(sa.select(schema.users)):
            cache.users[row[0]] = User(*row)
        live = [state.value for state in RunState if not state.ended]
        hot = sa.select(runs.id).where(runs.state.in_(live))  # a run does not end before its tasks
        statement = sa.select(runs.record).where(runs.state.in_(live)).order_by(runs.created_at)
        for (record,) in connection.execute(statement):
            cache.set_run(rows.run_of(record))
        statement = sa.select(tasks.record).where(tasks.run_id.in_(hot)).order_by(tasks.run_id, tasks.position)
        for (record,) in connection.execute(statement):
            cache.set_task(rows.task_of(record))
        audit = schema.audit.c
        last = connection.execute(sa.select(audit.seq, audit.mac).order_by(audit.seq.desc()).limit(1)).first()
        cursor = connection.execute(sa.select(sa.func.max(schema.events.c.cursor))).scalar()
        return Sequences.stored(
            cache.meta,
            audit_key=audit_key,
            cursor=cursor or 0,
            audit_seq=last.seq if last is not None else 0,
            audit_mac=last.mac if last is not None else GENESIS,
        )


def _ignore(_: object) -> None:
    return
