"""What a live table costs beside Textual's DataTable, on the same rows in the same run.

`python -m benchmarks.console_table` prints: drawing anew after one cell has changed, a beat while 2,000 rows a second
change, the share of a core that this takes at four beats a second, and putting one row.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table as Printed
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import DataTable

from gamenode_console.widgets.prompt import Prompt
from gamenode_console.widgets.table import Table
from support.hosts import Host, columns, model_of

ROWS = 10_000
UPDATES_PER_S = 2_000
BEATS_PER_S = 4
ROUNDS = 20
SIZE = (120, 42)


class _Desk(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget
        yield Prompt()


class _Live:
    """The console's table, sorted by the figure that changes."""

    def __init__(self, sort: str = "") -> None:
        self.widget: Table[Host] = Table(model_of(*_hosts(), sort=sort))
        self._now = 0.0

    def fill(self) -> None:
        self.widget.beat(self._now)

    def update(self, hosts: list[Host]) -> None:
        for host in hosts:
            self.widget.model.put(host)
        self._now += 1 / BEATS_PER_S
        self.widget.beat(self._now)


class _Stock:
    """Textual's DataTable with the same cells."""

    def __init__(self) -> None:
        self.widget: DataTable[str] = DataTable(cursor_type="row")

    def fill(self) -> None:
        for column in columns():
            self.widget.add_column(column.title, key=column.key, width=column.width)
        for host in _hosts():
            self.widget.add_row(*(column.text(host, 0.0) for column in columns()), key=host.id)

    def update(self, hosts: list[Host]) -> None:
        for host in hosts:
            self.widget.update_cell(host.id, "cpu", str(host.cpu))


def _hosts() -> list[Host]:
    return [Host(f"node-{n:05}", cpu=float(n % 100)) for n in range(ROWS)]


async def _until_drawn(app: App[None]) -> None:
    done = asyncio.Event()
    app.call_after_refresh(done.set)
    await done.wait()


async def _measure(make: Callable[[], _Live | _Stock]) -> dict[str, float]:
    """Milliseconds of processor time for one changed cell that is seen, and for a beat of many anywhere."""
    table, chance = make(), random.Random(7)
    app, hosts = _Desk(table.widget), _hosts()

    async def spent(changed: list[Host]) -> float:
        start = time.process_time()
        table.update(changed)
        await _until_drawn(app)
        # An app without a terminal draws nothing by itself. This is all of the screen, and so the most it can cost.
        app.screen._compositor.render_strips()
        return (time.process_time() - start) * 1000

    def changed(n: int) -> Host:
        return replace(hosts[n], cpu=float(chance.randrange(1_000)))

    async with app.run_test(size=SIZE) as pilot:
        start = time.process_time()
        table.fill()
        await pilot.pause()
        filled = (time.process_time() - start) * 1000
        one = [await spent([changed(chance.randrange(30))]) for _ in range(ROUNDS)]
        beats = []
        for _ in range(ROUNDS):
            many = [changed(chance.randrange(ROWS)) for _ in range(UPDATES_PER_S // BEATS_PER_S)]
            beats.append(await spent(many))
    return {
        "fill_ms": filled,
        "one_ms": statistics.median(one),
        "beat_ms": statistics.mean(beats),
        "core_percent": statistics.mean(beats) * BEATS_PER_S / 10,
    }


def _put_us() -> float:
    model, hosts = model_of(*_hosts()), _hosts()
    start = time.perf_counter()
    for host in hosts:
        model.put(host)
    return (time.perf_counter() - start) / len(hosts) * 1e6


async def measure() -> dict[str, Any]:
    """Every figure, by who was measured."""
    return {
        "table": await _measure(_Live),
        "sorted": await _measure(lambda: _Live(sort="cpu")),
        "stock": await _measure(_Stock),
        "put_us": _put_us(),
    }


def printed(figures: dict[str, Any]) -> Printed:
    """The figures as people read them."""
    table = Printed(title=f"A table of {ROWS:,} rows at {UPDATES_PER_S:,} updates/s; put: {figures['put_us']:.2f} µs")
    for heading in ("", "table", "table, sorted", "DataTable", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for key, text in (
        ("fill_ms", "first rows, ms"),
        ("one_ms", "one cell changed, ms"),
        ("beat_ms", f"a beat ({UPDATES_PER_S // BEATS_PER_S} changes), ms"),
        ("core_percent", f"of a core at {BEATS_PER_S} beats/s, %"),
    ):
        own, stock = figures["table"][key], figures["stock"][key]
        table.add_row(text, f"{own:.2f}", f"{figures['sorted'][key]:.2f}", f"{stock:.2f}", f"{stock / own:.0f} ×")
    return table


if __name__ == "__main__":
    Console().print(printed(asyncio.run(measure())))
