"""The journal's file: its tables, its rows as values, and the statements that read and write them.

Every function works on a connection that its caller has to itself, inside the caller's transaction where it writes.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.agent_link_pb2 import OutboxRecord

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
#: Of more ended tasks than this not even the numbers are kept.
MAX_ENDED_TASKS = 20_000
#: Bytes that a journal keeps unused, so that what happens can be stored for a while where others have filled the disk.
RESERVE = 512 << 10
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


def _reserve(connection: sqlite3.Connection) -> None:
    """Makes the file and its write-ahead log as long as the journal needs them on a disk that is full by then."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;CREATE TABLE reserve (body BLOB);INSERT INTO reserve VALUES (zeroblob({RESERVE}));COMMIT;"
            "DROP TABLE reserve;"
        )
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.execute("PRAGMA shrink_memory")
    except sqlite3.OperationalError as error:
        logger.warning("no room could be set aside for the journal: %s", error)
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def connect(path: Path) -> sqlite3.Connection:
    """Opens the file, or makes it. Raises GameNodeError for one that is damaged or of a newer agent."""
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
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('outbox_id', ?)", (new_outbox_id(),))
        elif version > SCHEMA_VERSION:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"{path} was written by a newer agent (schema {version}, this one knows {SCHEMA_VERSION}): upgrade",
            )
        _reserve(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise GameNodeError(Code.DATA_LOSS, f"the agent's journal {path} cannot be opened: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def read_contents(connection: sqlite3.Connection) -> Contents:
    """Everything but records and the bytes of bundles."""
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


def store(db: sqlite3.Connection, entry: Entry, next_seq: int) -> int:
    """Writes an entry, giving its records their numbers from `next_seq` on; the number that is next then."""
    for record in entry.records:
        record.seq = next_seq
        db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (next_seq, entry.at, record.SerializeToString()))
        next_seq += 1
    if (task := entry.task) is not None:
        db.execute(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (task.task_id, task.fence, task.state, task.ended, task.digest, task.task, task.updated_at, next_seq - 1),
        )
    for attempt in entry.attempts:
        row = (*attempt.key, attempt.boot_id, attempt.ended, attempt.log)
        db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    if entry.bundle is not None:
        db.execute("INSERT OR IGNORE INTO bundles VALUES (?, ?, ?)", (*entry.bundle, entry.at))
    drop_attempts(db, entry.dropped)
    if entry.meta:
        set_meta(db, entry.meta)
    return next_seq


def drop_attempts(db: sqlite3.Connection, keys: Sequence[Attempt]) -> None:
    """Forgets attempts."""
    if keys:
        db.executemany("DELETE FROM attempts WHERE task_id = ? AND fence = ? AND step_id = ? AND attempt = ?", keys)


def set_meta(db: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Stores small facts by name."""
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def drop_old_records(db: sqlite3.Connection, *, acked: int, older_than: float, max_bytes: int) -> None:
    """Drops acknowledged records that are old, or beyond `max_bytes` counted from the newest."""
    aged = "SELECT max(seq) FROM outbox WHERE at < ? AND seq <= ?"
    edge = db.execute(aged, (older_than, acked)).fetchone()[0]
    beyond = (
        "SELECT max(seq) FROM (SELECT seq, sum(length(body)) OVER (ORDER BY seq DESC) AS size FROM outbox)"
        " WHERE size > ? AND seq <= ?"
    )
    over = db.execute(beyond, (max_bytes, acked)).fetchone()[0]
    db.execute("DELETE FROM outbox WHERE seq <= ?", (max(edge or 0, over or 0),))


def drop_old_tasks(db: sqlite3.Connection, *, acked: int, older_than: float) -> list[str]:
    """Drops ended tasks whose end is acknowledged and old, or of which there are too many; their ids."""
    aged = "DELETE FROM tasks WHERE ended AND updated_at < ? AND last_seq <= ? RETURNING task_id"
    dropped = [task_id for (task_id,) in db.execute(aged, (older_than, acked))]
    beyond = (
        "DELETE FROM tasks WHERE task_id IN (SELECT task_id FROM tasks WHERE ended AND last_seq <= ?"
        " ORDER BY updated_at DESC LIMIT -1 OFFSET ?) RETURNING task_id"
    )
    return dropped + [task_id for (task_id,) in db.execute(beyond, (acked, MAX_ENDED_TASKS))]


def drop_unused_bundles(db: sqlite3.Connection, *, older_than: float, keep: frozenset[str]) -> list[str]:
    """Drops old bundles that no task and nobody in `keep` needs; their digests."""
    rows = db.execute(
        "SELECT digest FROM bundles WHERE stored_at < ? AND digest NOT IN (SELECT digest FROM tasks)", (older_than,)
    )
    unused = [digest for (digest,) in rows if digest not in keep]
    db.executemany("DELETE FROM bundles WHERE digest = ?", [(digest,) for digest in unused])
    return unused


def new_outbox_id() -> str:
    """A name for an outbox that has never been."""
    return secrets.token_hex(8)
