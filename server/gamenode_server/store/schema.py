"""The tables, for SQLite and PostgreSQL alike: indexed columns, and a protobuf blob that holds the whole record.

Every index is one more page that a lone operation writes, so there are few: what grows with its key (a cursor with the
time) is found by bisection instead.

A change here needs a revision in `migrations/versions` that makes the same change, and a new `REVISION`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

#: The newest revision in `migrations/versions`; what a database of this program is at.
REVISION = "0005"
#: Marks the file as ours (SQLite's `application_id`): "GNOD".
APPLICATION_ID = 0x474E4F44

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite's rowid alias must be INTEGER exactly.
_Cursor = BigInteger().with_variant(Integer(), "sqlite")

#: Alembic's own table, which a fresh database gets without importing Alembic.
revisions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("shipped", SmallInteger, nullable=False),
    Column("files", LargeBinary, nullable=False, server_default=text("''")),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index(None, "created_at", "id"),
    Index(None, "pipeline", "created_at"),
    Index(None, "state", "created_at"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index(None, "run_id", "position"),
)

bundles = Table(
    "bundles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    #: When a run was last made of it, give or take a day.
    Column("used_at", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("cursor", _Cursor, primary_key=True, autoincrement=False),
    #: When it was stored: grows with the cursor. When it happened may be earlier.
    Column("stored_at", Double, nullable=False),
    Column("time", Double, nullable=False),
    Column("type", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index(None, "run_id", "cursor"),
    Index(None, "node_id", "cursor"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("name", Text, nullable=False),
    #: JSON objects.
    Column("labels", Text, nullable=False),
    Column("replace", Text, nullable=False),
    Column("joined", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("unix_user", Text, nullable=False),
    Column("unix_group", Text, nullable=False),
    Column("certificate_serial", Text, nullable=False),
    Column("certificate_not_after", Double, nullable=False),
    Column("revoked_at", Double, nullable=False),
    Column("revoked_by", Text, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("principal", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

#: What notifiers have still to tell, each by its event.
notifications = Table(
    "notifications",
    metadata,
    Column("notifier", Text, primary_key=True),
    Column("cursor", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    #: Tries that failed.
    Column("attempts", Integer, nullable=False),
    #: JSON, as templates see it.
    Column("event", Text, nullable=False),
    sqlite_with_rowid=False,
)

#: Contents under names; the contents themselves are files, or on nodes.
artifacts = Table(
    "artifacts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    #: The node that keeps it; empty for the server.
    Column("node_id", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("folder", SmallInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _Cursor, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("principal", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    #: Hex HMAC-SHA256 of the row before, and of this one with it.
    Column("prev", Text, nullable=False),
    Column("mac", Text, nullable=False),
)
