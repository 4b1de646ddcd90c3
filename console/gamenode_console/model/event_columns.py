"""The columns of events in live tables. Pure."""

from __future__ import annotations

from collections.abc import Callable

from gamenode_console import texts
from gamenode_console.model.cells import Cell, Shown
from gamenode_console.model.columns import Column
from gamenode_proto.v1 import work_pb2

Event = work_pb2.Event
_BAD = ("failed", "crashed", "gave_up", "offline", "lost", "quarantined", "revoked", "refused")
_GOOD = ("succeeded", "joined", "online", "restarted", "connected")


def is_faulty(event: Event) -> bool:
    """Whether it tells of something that went wrong."""
    return event.type.rpartition(".")[2] in _BAD


def columns(node_name: Callable[[str], str]) -> tuple[Column[Event], ...]:
    """Time, type and where; what it says takes the rest."""
    return (
        Column("time", "TIME", 12, lambda event, now: texts.clock_time(event.time)[11:23], order=_order),
        Column("type", "TYPE", 22, _type, order=lambda event: event.type),
        Column("node", "NODE", 16, lambda event, now: node_name(event.node_id), order=lambda e: node_name(e.node_id)),
        Column("run", "RUN", 12, lambda event, now: event.run_id, order=lambda event: event.run_id, spare=2),
        Column("step", "STEP", 14, lambda event, now: event.step_id, order=lambda event: event.step_id, spare=3),
        Column("by", "BY", 12, lambda event, now: event.actor, order=lambda event: event.actor, spare=4),
        Column("what", "WHAT", 24, _what, spare=1, grow=True),
    )


def _order(event: Event) -> int:
    return event.cursor


def _type(event: Event, now: float) -> Shown:
    word = event.type.rpartition(".")[2]
    return Cell(event.type, "bad" if word in _BAD else "good" if word in _GOOD else "")


def _what(event: Event, now: float) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(event.data.items()) if value)
