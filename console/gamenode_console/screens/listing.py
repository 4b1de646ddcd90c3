"""A view of one table: what is common to nodes, runs, pipelines and events."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult

from gamenode_console.model.export import as_csv, as_json
from gamenode_console.screens.view import View
from gamenode_console.widgets.table import Table


class Listing(View):
    """One table that fills the screen. Subclasses make the table and fill it."""

    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("table",)

    def make_table(self) -> Table[Any]:
        """The table, new."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """The table alone."""
        yield self.make_table()

    @property
    def table(self) -> Table[Any]:
        """The table."""
        return self.query_one(Table)

    @property
    def title_text(self) -> str:
        """The view, how much of what there is, and the filter."""
        model = self.table.model
        listed, all_ = len(model.visible), len(model.rows)
        count = f"{all_:,}" if listed == all_ else f"{listed:,} of {all_:,}"
        said = f" /{model.filter_text}" if model.filter_text else ""
        marked = f" · {len(model.marks)} marked" if model.marks else ""
        return f"{self.NAME} {count}{said}{marked}"

    def beat(self, now: float) -> None:
        """Draws what has changed."""
        self.table.stale = self.console.stale
        self.table.beat(now)

    def go_back(self) -> bool:
        """Clears the filter, then the marks."""
        model = self.table.model
        if model.filter_text:
            self.table.set_filter("")
        elif model.marks:
            self.table.action_unmark_all()
        else:
            return False
        return True

    def filter(self, text: str) -> None:
        """Lists what matches."""
        if problem := self.table.set_filter(text):
            self.notify(problem, severity="error", markup=False)

    def copied(self) -> str:
        """The row under the cursor."""
        return self.table.line_text()

    def exported(self, kind: str = "") -> tuple[str, str] | None:
        """The listed rows with the columns that are drawn."""
        model = self.table.model
        rows = [model.rows[id] for id in model.visible]
        columns = [placed.column for placed in self.table.shown]
        now = self.console.now()
        return f"{self.NAME.lower()}.csv", as_json(columns, rows, now) if kind == "json" else as_csv(columns, rows, now)
