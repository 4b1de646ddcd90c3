"""The view of runs: those that go on, and the newest that have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gamenode_console import keys
from gamenode_console.documents import runs as run_documents
from gamenode_console.model import run_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import Changes
from gamenode_console.screens.listing import Listing
from gamenode_console.widgets.table import Table
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import work_pb2

Run = work_pb2.Run


class Runs(Listing):
    """Newest first."""

    NAME = "Runs"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("runs",)
    BINDINGS = [*keys.bindings("runs")]

    def make_table(self) -> Table[Run]:
        """All that are looked at."""
        model = TableModel(
            run_columns.columns(self.console.glyphs),
            lambda run: run.id,
            run_documents.run,
            faulty=run_columns.is_faulty,
            sort="age",
            reverse=True,
        )
        return Table(model, empty=self._empty, glyphs=self.console.glyphs)

    def _empty(self) -> str:
        return "no runs yet\nt starts a pipeline" if self.world.runs_known else "waiting for the server"

    def refill(self, everything: Changes, now: float) -> None:
        """All runs that are looked at."""
        model = self.table.model
        for gone in set(model.rows) - everything.runs:
            model.remove(gone)
        self.changed(everything, now)

    def changed(self, changes: Changes, now: float) -> None:
        """Runs as they change."""
        put_runs(self.table, self.world.runs, changes)

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the run."""
        self.console.operations.open_run(message.id)

    def action_cancel(self) -> None:
        """Cancels what is chosen."""
        try:
            self.console.operations.cancel(self.table.model.selected())
        except GameNodeError as error:
            self.console.complain(error)

    def action_retry(self) -> None:
        """Runs the one under the cursor again where it failed."""
        try:
            self.console.operations.retry(self.table.model.cursor)
        except GameNodeError as error:
            self.console.complain(error)

    def action_logs(self) -> None:
        """The log of the one under the cursor."""
        if cursor := self.table.model.cursor:
            self.console.operations.open_log(cursor)

    def action_why(self) -> None:
        """Opens the one under the cursor and asks why it does not move."""
        if cursor := self.table.model.cursor:
            self.console.operations.open_run(cursor, why=True)

    def action_events(self) -> None:
        """The events of the one under the cursor."""
        if cursor := self.table.model.cursor:
            self.console.operations.open_events(cursor)

    def action_resolve(self) -> None:
        """Asks what became of a task of it."""
        if cursor := self.table.model.cursor:
            self.console.operations.ask_resolve(cursor)


def put_runs(table: Table[Run], runs: Mapping[str, Run], changes: Changes) -> None:
    """Puts changed runs into a table, and takes out those that went."""
    for id in changes.gone_runs:
        table.model.remove(id)
    for id in changes.runs:
        if (run := runs.get(id)) is not None:
            table.model.put(run)
