"""What the agent must never forget, in one SQLite file: tasks, attempts, bundles, and the outbox.

The seam between the runner, which commits what happened before it acts on it, and the link, which sends it. Everything
of one step of a task is one transaction (`synchronous=FULL`). Knows nothing of what the blobs mean, and no network.

Records keep their numbers for ever: `seq` is contiguous within an `outbox_id`. Acknowledged ones stay for a while, so
that a server restored from a backup can ask for them again.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.process.writer import BatchWriter
from gamenode_proto.v1.agent_link_pb2 import OutboxRecord

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
#: Of more ended tasks than this not even the numbers are kept.
MAX_ENDED_TASKS = 20_000
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (seq INTEGER PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY, fence INTEGER NOT NULL, state TEXT NOT NULL, ended INTEGER NOT NULL,
    digest TEXT NOT NULL, task BLOB NOT NULL, updated_at REAL NOT NULL, last_seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE attempts (
    task_id TEXT NOT NULL, fence INTEGER NOT NULL, step_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    boot_id TEXT NOT NULL, ended INTEGER NOT NULL, log BLOB NOT NULL, PRIMARY KEY (task_id, fence, step_id, attempt)
) WITHOUT ROWID;
CREATE TABLE bundles (digest TEXT PRIMARY KEY, body BLOB NOT NULL, stored_at REAL NOT NULL) WITHOUT ROWID;
"""


class Attempt(NamedTuple):
    """Names one attempt: the key of its process, its log and its result."""

    task_id: str
    fence: int
    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as the journal keeps it. `task` is a serialized Task, empty for a tombstone; `digest` is its bundle's."""

    task_id: str
    fence: int
    state: str
    ended: bool
    digest: str
    task: bytes
    updated_at: float
    #: The record that its last change is told by.
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt that may have run, until its log is on the server. `log` is a serialized LogSummary once it ended."""

    key: Attempt
    #: The boot of the host it was started in.
    boot_id: str
    ended: bool = False
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored together, or not at all. `records` get their `seq` when they are stored."""

    at: float
    records: Sequence[OutboxRecord] = ()
    task: TaskRow | None = None
    attempts: Sequence[AttemptRow] = ()
    bundle: tuple[str, bytes] | None = None
    #: Attempts nobody needs any more.
    dropped: Sequence[Attempt] = ()
    meta: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal held when it was opened."""

    meta: Mapping[str, str]
    tasks: Sequence[TaskRow]
    attempts: Sequence[AttemptRow]
    digests: frozenset[str]
    outbox_first: int
    outbox_last: int
    outbox_bytes: int
    #: The highest time in it: a clock must not start below.
    newest: float


@dataclass(frozen=True, slots=True)
class Tidied:
    """What housekeeping left and dropped."""

    #: The oldest record that can still be sent.
    first_seq: int
    #: Ended tasks whose numbers are not known any more.
    forgotten: Sequence[str]


class StorageFull(GameNodeError):
    """The journal cannot be written at present; nothing of the entry is stored."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(Code.STORAGE_FULL, f"the agent's journal cannot be written: {cause}")


OnRecords = Callable[[Sequence[OutboxRecord]], None]


class _Transaction:
    __slots__ = ("connection", "failed", "next_seq")

    def __init__(self, connection: sqlite3.Connection, next_seq: int) -> None:
        self.connection = connection
        self.next_seq = next_seq
        self.failed: Exception | None = None


class _Backend:
    """The writer thread's side: one connection, used by that thread only."""

    def __init__(self, connection: sqlite3.Connection, last_seq: int) -> None:
        self._connection = connection
        self._last_seq = last_seq

    def begin(self) -> _Transaction:
        self._connection.execute("BEGIN IMMEDIATE")
        return _Transaction(self._connection, self._last_seq + 1)

    def run(self, tx: _Transaction, operation: Callable[[_Transaction], Any]) -> Any:
        try:
            return operation(tx)
        except Exception as error:
            tx.failed = error
            raise

    def commit(self, tx: _Transaction) -> None:
        if tx.failed is not None:  # it may have left half of itself: the others are run again without it
            raise tx.failed
        failpoint("journal.before_commit")
        self._connection.execute("COMMIT")
        self._last_seq = tx.next_seq - 1

    def rollback(self, tx: _Transaction) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        # A journal that could not be written a moment ago may not be closed tidily; what is committed stays.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()


class Journal:
    """The journal of a running agent. Entries are stored in the order of the calls."""

    def __init__(
        self, path: Path, *, on_records: OnRecords, on_dropped: Callable[[Sequence[Attempt]], None] = lambda _keys: None
    ) -> None:
        """Opens or makes the file.

        `on_records` hears of an entry's records when they are stored, in order, before `commit` returns; `on_dropped`
        of attempts given to `drop_later`, once the file has forgotten them.
        """
        self.path = path
        self._on_dropped = on_dropped
        connection = _connect(path)
        try:
            self.contents = _load(connection)
        except BaseException:
            connection.close()
            raise
        self._on_records = on_records
        backend = _Backend(connection, self.contents.outbox_last)
        self._writer: BatchWriter[_Transaction] = BatchWriter(backend, name="journal")
        self._digests = set(self.contents.digests)
        self._dropped: list[Attempt] = []

    async def commit(self, entry: Entry) -> None:
        """Stores an entry; returns when it is durable. Raises StorageFull with nothing of it stored."""
        dropped, self._dropped = self._dropped, []

        def store(tx: _Transaction) -> None:
            _store(tx, entry)
            _drop_attempts(tx, dropped)

        try:
            await self._writer.apply(store)
        except (sqlite3.OperationalError, OSError) as error:
            self._dropped[:0] = dropped
            raise StorageFull(error) from error
        if entry.records:
            self._on_records(entry.records)
        if entry.bundle is not None:
            self._digests.add(entry.bundle[0])
        if dropped:
            self._on_dropped(dropped)

    def drop_later(self, key: Attempt) -> None:
        """Forgets an attempt with the next entry, whatever that is."""
        self._dropped.append(key)

    @property
    def pending_drops(self) -> int:
        """How many attempts wait to be forgotten."""
        return len(self._dropped)

    def has_bundle(self, digest: str) -> bool:
        """Whether the bundle of this digest is stored."""
        return digest in self._digests

    async def bundle(self, digest: str) -> bytes | None:
        """The bytes of a stored bundle."""

        def read(tx: _Transaction) -> bytes | None:
            row = tx.connection.execute("SELECT body FROM bundles WHERE digest = ?", (digest,)).fetchone()
            return None if row is None else bytes(row[0])

        return await self._writer.apply(read)

    async def records(self, after: int, *, limit: int, max_bytes: int) -> list[OutboxRecord]:
        """Records behind `after`, in order: at most `limit`, and no more than `max_bytes` beyond the first."""

        def read(tx: _Transaction) -> list[OutboxRecord]:
            found: list[OutboxRecord] = []
            size = 0
            rows = tx.connection.execute("SELECT body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
            for (body,) in rows:
                size += len(body)
                if found and size > max_bytes:
                    break
                found.append(OutboxRecord.FromString(body))
            return found

        return await self._writer.apply(read)

    async def tidy(self, *, acked: int, older_than: float, max_bytes: int, keep: frozenset[str]) -> Tidied:
        """Housekeeping: notes `acked`, and drops what has aged.

        Acknowledged records go when they are older than `older_than`, or beyond `max_bytes` counted from the newest;
        what is not acknowledged always stays. Ended tasks go by age, bundles when no task that is left and no digest in
        `keep` needs them.
        """
        dropped, self._dropped = self._dropped, []

        def run(tx: _Transaction) -> tuple[Tidied, list[str]]:
            _drop_attempts(tx, dropped)
            db = tx.connection
            _set_meta(tx, {"acked": str(acked)})
            aged = "SELECT max(seq) FROM outbox WHERE at < ? AND seq <= ?"
            edge = db.execute(aged, (older_than, acked)).fetchone()[0]
            over = db.execute(
                "SELECT max(seq) FROM (SELECT seq, sum(length(body)) OVER (ORDER BY seq DESC) AS size FROM outbox)"
                " WHERE size > ? AND seq <= ?",
                (max_bytes, acked),
            ).fetchone()[0]
            db.execute("DELETE FROM outbox WHERE seq <= ?", (max(edge or 0, over or 0),))
            aged = "DELETE FROM tasks WHERE ended AND updated_at < ? AND last_seq <= ? RETURNING task_id"
            forgotten = [task_id for (task_id,) in db.execute(aged, (older_than, acked))]
            beyond = (
                "DELETE FROM tasks WHERE task_id IN (SELECT task_id FROM tasks WHERE ended AND last_seq <= ?"
                " ORDER BY updated_at DESC LIMIT -1 OFFSET ?) RETURNING task_id"
            )
            forgotten += [task_id for (task_id,) in db.execute(beyond, (acked, MAX_ENDED_TASKS))]
            rows = db.execute(
                "SELECT digest FROM bundles WHERE stored_at < ? AND digest NOT IN (SELECT digest FROM tasks)",
                (older_than,),
            )
            unused = [digest for (digest,) in rows if digest not in keep]
            db.executemany("DELETE FROM bundles WHERE digest = ?", [(digest,) for digest in unused])
            first = db.execute("SELECT min(seq) FROM outbox").fetchone()[0]
            return Tidied(tx.next_seq if first is None else int(first), forgotten), unused

        tidied: Tidied
        tidied, unused = await self._apply(run)
        self._digests.difference_update(unused)
        self._on_dropped(dropped)
        return tidied

    async def renew_outbox(self) -> str:
        """A new outbox id, for an outbox that the server must not compare with what it knows. Records stay."""
        outbox_id = _new_outbox_id()
        await self._apply(lambda tx: _set_meta(tx, {"outbox_id": outbox_id}))
        return outbox_id

    async def set_meta(self, values: Mapping[str, str]) -> None:
        """Stores small facts by name."""
        await self._apply(lambda tx: _set_meta(tx, values))

    async def close(self) -> None:
        """Stores what is waiting and closes the file."""
        await self._writer.close()

    async def _apply(self, operation: Callable[[_Transaction], Any]) -> Any:
        try:
            return await self._writer.apply(operation)
        except (sqlite3.OperationalError, OSError) as error:
            raise StorageFull(error) from error


def _connect(path: Path) -> sqlite3.Connection:
    # The connection is made here and used by the writer's thread alone from then on.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA journal_size_limit=8388608")
        connection.execute("PRAGMA cache_size=-1024")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('outbox_id', ?)", (_new_outbox_id(),))
        elif version > SCHEMA_VERSION:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"{path} was written by a newer agent (schema {version}, this one knows {SCHEMA_VERSION}): upgrade",
            )
    except sqlite3.DatabaseError as error:
        connection.close()
        raise GameNodeError(Code.DATA_LOSS, f"the agent's journal {path} cannot be opened: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _load(connection: sqlite3.Connection) -> Contents:
    tasks = [
        TaskRow(task_id, fence, state, bool(ended), digest, bytes(task), updated_at, last_seq)
        for task_id, fence, state, ended, digest, task, updated_at, last_seq in connection.execute(
            "SELECT task_id, fence, state, ended, digest, task, updated_at, last_seq FROM tasks"
        )
    ]
    attempts = [
        AttemptRow(Attempt(task_id, fence, step_id, attempt), boot_id, bool(ended), bytes(log))
        for task_id, fence, step_id, attempt, boot_id, ended, log in connection.execute(
            "SELECT task_id, fence, step_id, attempt, boot_id, ended, log FROM attempts"
        )
    ]
    meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    first, last, size, newest = connection.execute(
        "SELECT min(seq), max(seq), coalesce(sum(length(body)), 0), coalesce(max(at), 0) FROM outbox"
    ).fetchone()
    # An outbox that is empty because everything in it has aged still goes on where it was.
    last = int(meta.get("acked", "0")) if last is None else int(last)
    return Contents(
        meta=meta,
        tasks=tasks,
        attempts=attempts,
        digests=frozenset(digest for (digest,) in connection.execute("SELECT digest FROM bundles")),
        outbox_first=last + 1 if first is None else int(first),
        outbox_last=last,
        outbox_bytes=int(size),
        newest=max([float(newest), *(task.updated_at for task in tasks)]),
    )


def _store(tx: _Transaction, entry: Entry) -> None:
    db = tx.connection
    for record in entry.records:
        record.seq = tx.next_seq
        db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (tx.next_seq, entry.at, record.SerializeToString()))
        tx.next_seq += 1
    if (task := entry.task) is not None:
        last = tx.next_seq - 1
        db.execute(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (task.task_id, task.fence, task.state, task.ended, task.digest, task.task, task.updated_at, last),
        )
    for attempt in entry.attempts:
        row = (*attempt.key, attempt.boot_id, attempt.ended, attempt.log)
        db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    if entry.bundle is not None:
        db.execute("INSERT OR IGNORE INTO bundles VALUES (?, ?, ?)", (*entry.bundle, entry.at))
    if entry.dropped:
        _drop_attempts(tx, entry.dropped)
    if entry.meta:
        _set_meta(tx, entry.meta)


def _drop_attempts(tx: _Transaction, keys: Sequence[Attempt]) -> None:
    if keys:
        tx.connection.executemany(
            "DELETE FROM attempts WHERE task_id = ? AND fence = ? AND step_id = ? AND attempt = ?", keys
        )


def _set_meta(tx: _Transaction, values: Mapping[str, str]) -> None:
    tx.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def _new_outbox_id() -> str:
    return secrets.token_hex(8)
