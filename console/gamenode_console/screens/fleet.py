"""The first view, which answers the morning's question: what needs a person, what goes on, and how the nodes are."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from gamenode_console import keys, texts
from gamenode_console.model import node_columns, run_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import Changes
from gamenode_console.screens.nodes import node_words, put_nodes
from gamenode_console.screens.view import View
from gamenode_console.widgets.styles import rich_style
from gamenode_console.widgets.table import Table
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import nodes_pb2, work_pb2

#: Lines of what needs attention; the others are counted.
ATTENTION_SHOWN = 4
#: Runs that have ended are shown for this long, seconds.
FRESH = 600.0


class Fleet(View):
    """What needs attention, runs in progress, nodes."""

    NAME = "Fleet"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("runs", "nodes")
    BINDINGS = [*keys.bindings("runs")]
    DEFAULT_CSS = """
    Fleet #attention { height: auto; max-height: 6; padding: 0 1; }
    Fleet #runs { height: 2fr; border-top: solid $panel; border-title-color: $text-accent; }
    Fleet #nodes { height: 3fr; border-top: solid $panel; border-title-color: $text-accent; }
    """

    def body(self) -> ComposeResult:
        """Three panes, one under the other."""
        glyphs = self.console.glyphs
        yield Static("", id="attention", markup=False)
        runs: TableModel[work_pb2.Run] = TableModel(
            run_columns.columns(glyphs), lambda run: run.id, faulty=run_columns.is_faulty, sort="age", reverse=True
        )
        table = Table(runs, empty=lambda: "nothing runs\nt starts a pipeline", glyphs=glyphs, id="runs")
        table.border_title = "Runs"
        yield table
        nodes: TableModel[nodes_pb2.Node] = TableModel(
            node_columns.columns(glyphs),
            lambda node: node.id,
            node_words,
            faulty=node_columns.is_faulty,
            sort="state",
        )
        second = Table(nodes, empty=self._no_nodes, glyphs=glyphs, id="nodes")
        second.border_title = "Nodes"
        yield second

    def _no_nodes(self) -> str:
        if not self.world.nodes_known:
            return self.world.link.text or "waiting for the server"
        return "no nodes yet\n:enrol shows the line that joins one"

    @property
    def _run_table(self) -> Table[work_pb2.Run]:
        return self.query_one("#runs", Table)

    @property
    def _node_table(self) -> Table[nodes_pb2.Node]:
        return self.query_one("#nodes", Table)

    def on_mount(self) -> None:
        """The nodes have the focus."""
        self._node_table.focus()

    def refill(self, everything: Changes, now: float) -> None:
        """All there is."""
        for table, there in ((self._run_table, everything.runs), (self._node_table, everything.nodes)):
            for gone in set(table.model.rows) - there:
                table.model.remove(gone)
        self.changed(everything, now)

    def changed(self, changes: Changes, now: float) -> None:
        """Nodes, and runs that go on or have just ended."""
        put_nodes(self._node_table, self.world.nodes, changes)
        for id in changes.gone_runs:
            self._run_table.model.remove(id)
        for id in changes.runs:
            run = self.world.runs.get(id)
            if run is not None and not _is_old(run, now):
                self._run_table.model.put(run)
        if changes.status:
            self._attention(now)

    def beat(self, now: float) -> None:
        """Draws what has changed; old runs go."""
        for id in [id for id, run in self._run_table.model.rows.items() if _is_old(run, now)]:
            self._run_table.model.remove(id)
        for table in (self._run_table, self._node_table):
            table.stale = self.console.stale
            table.beat(now)

    def _attention(self, now: float) -> None:
        status = self.world.status
        if status is None:
            return
        text = Text()
        for each in status.attention[:ATTENTION_SHOWN]:
            age = texts.span(now - each.since) if each.since else ""
            text.append("! ", rich_style(self.app, "bad"))
            text.append(texts.one_line(f"{each.name}: {each.text}"))
            text.append(f"  {age}  {texts.one_line(each.hint)}\n", rich_style(self.app, "dim"))
        if (more := len(status.attention) - ATTENTION_SHOWN) > 0:
            text.append(f"  and {more} more: gamenode status", rich_style(self.app, "dim"))
        if not status.attention:
            text.append("all is well", rich_style(self.app, "good"))
        text.rstrip()
        self.query_one("#attention", Static).update(text)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the run or the node."""
        if message.table.id == "runs":
            self.console.operations.open_run(message.id)
        else:
            self.console.operations.open_node(message.id)

    def action_cancel(self) -> None:
        """Cancels the runs that are chosen."""
        self._do_run(lambda: self.console.operations.cancel(self._run_table.model.selected()))

    def action_retry(self) -> None:
        """Runs the one under the cursor again where it failed."""
        self._do_run(lambda: self.console.operations.retry(self._run_table.model.cursor))

    def action_logs(self) -> None:
        """The log of the run under the cursor."""
        if cursor := self._run_table.model.cursor:
            self.console.operations.open_log(cursor)

    def _do_run(self, doing: Callable[[], None]) -> None:
        try:
            doing()
        except GameNodeError as error:
            self.console.complain(error)

    def chosen_nodes(self) -> list[str]:
        """The nodes that are marked, or the one under the cursor."""
        model = self._node_table.model
        return [model.rows[id].name for id in model.selected() if id in model.rows]

    def filter(self, text: str) -> None:
        """Lists nodes that match."""
        if problem := self._node_table.set_filter(text):
            self.notify(problem, severity="error", markup=False)

    def go_back(self) -> bool:
        """Clears the filters."""
        for table in (self._node_table, self._run_table):
            if table.model.filter_text:
                table.set_filter("")
                return True
        return False

    def copied(self) -> str:
        """The row under the cursor of the pane with the focus."""
        return self.focused.line_text() if isinstance(self.focused, Table) else ""


def _is_old(run: work_pb2.Run, now: float) -> bool:
    return bool(run.finished_at) and run_columns.has_ended(run) and now - run.finished_at > FRESH
