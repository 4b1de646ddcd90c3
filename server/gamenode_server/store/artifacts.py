"""Artifacts in the store: which content each name has had, on the server or on a node, until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from gamenode_server.store import schema
from gamenode_server.store.transaction import Transaction

_rows = schema.artifacts.c
_this = sa.and_(
    _rows.name == sa.bindparam("its_name"),
    _rows.digest == sa.bindparam("its_digest"),
    _rows.node_id == sa.bindparam("its_node"),
)
#: Characters of a digest that stand for it.
MIN_DIGEST = 8
DIGEST = 64


@dataclass(frozen=True, slots=True)
class Artifact:
    """A content under a name. `digest` is the SHA-256 in hex; `node_id` is empty where the server keeps it."""

    name: str
    digest: str
    node_id: str
    bytes: int
    folder: bool
    created_at: float
    created_by: str
    expires_at: float
    run_id: str = ""
    task_id: str = ""
    step_id: str = ""


def put(tx: Transaction, artifact: Artifact) -> None:
    """Stores an artifact; one of the same name, content and place is replaced."""
    remove(tx, [artifact])
    tx.defer(sa.insert(schema.artifacts), asdict(artifact) | {"folder": int(artifact.folder)})


def remove(tx: Transaction, artifacts: Iterable[Artifact]) -> None:
    """Removes these; not their content."""
    for each in artifacts:
        key = {"its_name": each.name, "its_digest": each.digest, "its_node": each.node_id}
        tx.defer(sa.delete(schema.artifacts).where(_this), key)


def listed(connection: sa.Connection) -> Sequence[Artifact]:
    """Every artifact, newest first."""
    return _found(connection, sa.true())


def named(connection: sa.Connection, name: str) -> Sequence[Artifact]:
    """Every artifact of a name, newest first."""
    return _found(connection, _rows.name == name)


def with_digest(connection: sa.Connection, digest: str) -> Sequence[Artifact]:
    """Every artifact whose digest begins like this, newest first."""
    return _found(connection, _rows.digest.startswith(digest, autoescape=True))


def of_node(connection: sa.Connection, node_id: str) -> frozenset[str]:
    """The digests of what a node keeps; of the server for the empty id."""
    statement = sa.select(_rows.digest).where(_rows.node_id == node_id).distinct()
    return frozenset(connection.execute(statement).scalars())


def expired(connection: sa.Connection, now: float) -> Sequence[Artifact]:
    """Those whose time is over."""
    return _found(connection, _rows.expires_at <= now)


def _found(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Sequence[Artifact]:
    statement = sa.select(schema.artifacts).where(condition)
    found = connection.execute(statement.order_by(_rows.created_at.desc(), _rows.name, _rows.digest, _rows.node_id))
    return [_artifact(row) for row in found]


def _artifact(row: sa.Row[tuple[object, ...]]) -> Artifact:
    values = dict(row._mapping)
    return Artifact(**values | {"folder": bool(values["folder"])})
