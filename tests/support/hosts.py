"""Rows that tables are tried with: hosts with a name, a load and a state."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_console.model.bars import meter
from gamenode_console.model.cells import state
from gamenode_console.model.columns import Column
from gamenode_console.model.glyphs import UTF8, Glyphs
from gamenode_console.model.table import TableModel


@dataclass(frozen=True)
class Host:
    id: str
    cpu: float | None = 0.0
    state: str = "online"
    seen: float = 0.0


def columns(glyphs: Glyphs = UTF8) -> list[Column[Host]]:
    """Of each kind one: text, a state, a figure, an age, one that goes where it is narrow, one for wide mode."""
    return [
        Column("name", "NAME", 10, lambda host, now: host.id, order=lambda host: host.id, grow=True),
        Column("state", "STATE", 9, lambda host, now: state(host.state), order=lambda host: host.state),
        Column("cpu", "CPU", 5, lambda host, now: str(host.cpu), order=lambda host: host.cpu, right=True),
        Column("seen", "SEEN", 6, lambda host, now: f"{now - host.seen:.0f}s", right=True, ages=True, spare=1),
        Column(
            "load",
            "LOAD",
            10,
            lambda host, now: meter(None if host.cpu is None else host.cpu / 100, 10, glyphs=glyphs),
            spare=2,
            value=lambda host, now: str(host.cpu),
        ),
        Column("address", "ADDRESS", 30, lambda host, now: f"address of {host.id}", wide=True),
    ]


def hosts(text: str) -> list[Host]:
    """Hosts of these names."""
    return [Host(name) for name in text.split()]


def model_of(*given: Host, sort: str = "", reverse: bool = False, glyphs: Glyphs = UTF8) -> TableModel[Host]:
    """A table of hosts, settled at 0."""
    model = TableModel(
        columns(glyphs),
        lambda host: host.id,
        faulty=lambda host: host.state != "online",
        sort=sort,
        reverse=reverse,
    )
    for host in given:
        model.put(host)
    model.settle(0.0)
    return model
