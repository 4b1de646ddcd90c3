"""Connections to the database, and what its errors mean.

SQLite: WAL, `synchronous=FULL`, exactly one read-write connection, used by the writer's thread alone, which also makes
every checkpoint (SQLite before 3.51.3 can corrupt a WAL database that two connections write or checkpoint at once).
Readers are `mode=ro` and cannot checkpoint. Transactions are begun here, not by the driver. Knows no table.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.store.schema import APPLICATION_ID

logger = logging.getLogger(__name__)

MEMORY = ":memory:"
READERS = 4
#: Up to this size a database is checked whole when it is opened; it takes under 0.2 s.
QUICK_CHECK_BYTES = 32 << 20

_MAGIC = b"SQLite format 3\0"
#: The magic, and the application id at byte 68.
_HEADER = struct.Struct(">16s52xI")

_WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "temp_store=MEMORY",
    "mmap_size=0",
    "journal_size_limit=67108864",
    "cell_size_check=ON",
    "trusted_schema=OFF",
    "wal_autocheckpoint=4000",  # at 1000, one lone operation in fifty waits 1.3 ms for it
)
_READER_PRAGMAS = ("query_only=ON", "busy_timeout=5000", "temp_store=MEMORY", "mmap_size=0", "trusted_schema=OFF")


class Health(StrEnum):
    """Whether the store can store."""

    OK = "ok"
    #: No space: every write is refused until there is some again, which is noticed by itself.
    STORAGE_FULL = "storage_full"
    #: The database or its disk cannot be trusted to keep what it is given; only a restart changes that.
    READ_ONLY = "read_only"


# Result codes of SQLite, primary in the low byte. A write past a file size limit or a quota is an IOERR of these kinds.
_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMMAP,
}
_BROKEN = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY}


def ailment(error: BaseException) -> Health:
    """What an error of the database says about its health: `ok` where the statement was at fault."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", None)
    if isinstance(code, int):
        if code in _FULL:
            return Health.STORAGE_FULL
        if code & 0xFF in _BROKEN:
            return Health.READ_ONLY
    if getattr(original, "sqlstate", None) == "53100":  # PostgreSQL: disk_full
        return Health.STORAGE_FULL
    if isinstance(original, OSError):
        return Health.STORAGE_FULL
    return Health.OK


def refusal(health: Health, error: BaseException) -> GameNodeError:
    """What a caller is told whose operation was not stored."""
    error = getattr(error, "orig", None) or error  # without SQLAlchemy's second line
    if health is Health.STORAGE_FULL:
        return GameNodeError(
            Code.STORAGE_FULL, f"the server's disk is full, nothing was stored; free some space and try again ({error})"
        )
    return GameNodeError(
        Code.DATA_LOSS,
        f"the server's database cannot be written, nothing was stored; check its disk, then restart it ({error})",
    )


def sqlite_writer(path: Path | str) -> sa.Engine:
    """The engine of the one read-write connection."""
    url = "sqlite://" if path == MEMORY else f"sqlite:///{path}"
    engine = sa.create_engine(
        url, poolclass=StaticPool, connect_args={"isolation_level": None, "check_same_thread": False}
    )

    @sa.event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        for pragma in _WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def sqlite_readers(path: Path) -> sa.Engine:
    """The engine of the read-only connections, one for each reading thread."""
    engine = sa.create_engine(
        f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true",
        pool_size=READERS,
        max_overflow=0,
        connect_args={"isolation_level": None, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        for pragma in _READER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one snapshot for all the statements of a query

    return engine


def check_header(path: Path) -> None:
    """Refuses a file that is not a database of ours before anything touches it. A new or empty file is fine."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except FileNotFoundError:
        return
    if not header:
        return
    magic, mark = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
    # The mark of a database that was never checkpointed is in its WAL only.
    if magic != _MAGIC or mark not in (0, APPLICATION_ID):
        raise GameNodeError(Code.DATA_LOSS, f"{path} is not a GameNode database")


def check_database(connection: sa.Connection, path: Path | str) -> None:
    """Refuses a database that is not ours, or damaged as far as a quick look can tell."""
    mark = scalar(connection, "PRAGMA application_id")
    if mark != APPLICATION_ID and scalar(connection, "SELECT count(*) FROM sqlite_master"):
        raise GameNodeError(Code.DATA_LOSS, f"{path} is not a GameNode database")
    if scalar(connection, "PRAGMA page_count") * scalar(connection, "PRAGMA page_size") <= QUICK_CHECK_BYTES:
        found = scalar(connection, "PRAGMA quick_check(1)")
        if found != "ok":
            raise GameNodeError(Code.DATA_LOSS, f"{path} is damaged ({found}); restore a backup")


def checkpoint(connection: sa.Connection, *, last: bool = False) -> bool:
    """Moves the WAL into the database. False where a reader was in the way: try again later.

    The file stays as long as it is: a commit that overwrites it takes 0.18 ms, one that makes it longer 0.32. Only the
    `last` one empties it.
    """
    driver: Any = connection.connection.dbapi_connection
    try:
        if last:
            driver.execute("PRAGMA busy_timeout=0")
        row = driver.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if last else 'PASSIVE'})").fetchone()
    except sqlite3.OperationalError as error:  # no space: what is in the WAL stays there, and stays valid
        logger.debug("no checkpoint: %s", error)
        return False
    busy, frames, moved = row
    return not busy and frames == moved


def scalar(connection: sa.Connection, sql: str) -> Any:
    """The single value of a statement without parameters."""
    return connection.exec_driver_sql(sql).scalar()
