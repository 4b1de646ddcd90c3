"""The messages of notifiers that wait, in the store: added, tried again later, done with; each notifier's in order.

How many wait is kept by whoever adds and removes them, in the same transactions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from gamenode_server.store import schema
from gamenode_server.store.transaction import Transaction

_rows = schema.notifications.c
_ours = sa.and_(_rows.notifier == sa.bindparam("which"), _rows.cursor == sa.bindparam("at"))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits. `cursor` is its event's; `event` is JSON."""

    notifier: str
    cursor: int
    created_at: float
    due_at: float
    attempts: int
    event: str


def add(tx: Transaction, message: Waiting) -> None:
    """Adds a message, which must not be there yet."""
    tx.defer(
        sa.insert(schema.notifications),
        {
            "notifier": message.notifier,
            "cursor": message.cursor,
            "created_at": message.created_at,
            "due_at": message.due_at,
            "attempts": message.attempts,
            "event": message.event,
        },
    )


def put_off(tx: Transaction, message: Waiting, *, until: float) -> None:
    """Counts a try that failed; the next one is at `until`."""
    changed = sa.update(schema.notifications).where(_ours).values(attempts=message.attempts + 1, due_at=until)
    tx.defer(changed, {"which": message.notifier, "at": message.cursor})


def remove(tx: Transaction, message: Waiting) -> None:
    """Removes one."""
    tx.defer(sa.delete(schema.notifications).where(_ours), {"which": message.notifier, "at": message.cursor})


def remove_others(tx: Transaction, names: Collection[str], *, before: float) -> None:
    """Removes what waits for a notifier that is none of these, and was added before that time."""
    others = sa.and_(_rows.notifier.not_in(list(names)), _rows.created_at < before)
    tx.defer(sa.delete(schema.notifications).where(others))


def oldest(connection: sa.Connection, notifier: str) -> Waiting | None:
    """The notifier's oldest message."""
    statement = sa.select(schema.notifications).where(_rows.notifier == notifier).order_by(_rows.cursor).limit(1)
    row = connection.execute(statement).first()
    return Waiting(*row) if row is not None else None
