"""Textual's own DataTable as a program, with the rows and the updates that the console is measured with.

`python -m benchmarks.stock_table ROWS UPDATES_PER_SECOND`. It has no connection to wait for: its updates are made up in
the process, ten times a second, as the console's beats are.
"""

from __future__ import annotations

import random
import sys

from textual.app import App, ComposeResult
from textual.widgets import DataTable, Footer

from support.hosts import Host, columns

BEATS_PER_S = 10


class Stock(App[None]):
    """One table that fills the screen."""

    BINDINGS = [("j", "down", "down"), ("k", "up", "up")]  # noqa: RUF012 - Textual reads it itself

    def __init__(self, rows: int, rate: int) -> None:
        super().__init__()
        self._hosts = [Host(f"node-{n:05}", cpu=float(n % 100)) for n in range(rows)]
        self._rate = rate
        self._chance = random.Random(7)

    def compose(self) -> ComposeResult:
        table: DataTable[str] = DataTable(cursor_type="row")
        for column in columns():
            table.add_column(column.title, key=column.key, width=column.width)
        yield table
        yield Footer()

    def on_mount(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        for host in self._hosts:
            table.add_row(*(column.text(host, 0.0) for column in columns()), key=host.id)
        if self._rate:
            self.set_interval(1 / BEATS_PER_S, self._beat)

    def _beat(self) -> None:
        table = self.query_one(DataTable)
        for _ in range(self._rate // BEATS_PER_S):
            host = self._chance.choice(self._hosts)
            table.update_cell(host.id, "cpu", f"{self._chance.randrange(1_000) / 10}")

    def action_down(self) -> None:
        self.query_one(DataTable).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(DataTable).action_cursor_up()


if __name__ == "__main__":
    Stock(int(sys.argv[1]), int(sys.argv[2])).run()
