"""The first view, which answers the morning's question: what needs a person, what goes on, how the nodes are, what they
say."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from gamenode_console import keys, texts
from gamenode_console.core.logfeeds import Source
from gamenode_console.model import node_columns, run_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import Changes
from gamenode_console.screens.following import FollowingLog
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
    """What needs attention, runs in progress, nodes, and the log of what is selected."""

    NAME = "Fleet"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("runs", "fleet")
    BINDINGS = [*keys.bindings("runs", "fleet")]
    DEFAULT_CSS = """
    Fleet #attention { height: auto; max-height: 6; padding: 0 1; }
    Fleet #panes, Fleet #tables { height: 1fr; }
    Fleet #tables { height: 5fr; }
    Fleet #runs { height: 2fr; border-top: solid $panel; border-title-color: $text-accent; }
    Fleet #nodes { height: 3fr; border-top: solid $panel; border-title-color: $text-accent; }
    Fleet #runs:focus, Fleet #nodes:focus { border-top: solid $accent; }
    Fleet #log { height: 3fr; }
    Fleet.-low #log { display: none; }
    Fleet.-large #panes { layout: horizontal; }
    Fleet.-large #tables { width: 3fr; height: 1fr; }
    Fleet.-large #log { width: 2fr; height: 1fr; border-left: solid $panel; }
    """

    #: What needs attention, as it was drawn last.
    _said = Text()

    def body(self) -> ComposeResult:
        """Three panes: one under the other, or the log beside the tables where there is room."""
        yield Static("", id="attention", markup=False)
        with Vertical(id="panes"):
            with Vertical(id="tables"):
                yield from self._tables()
            yield FollowingLog(id="log")

    def _tables(self) -> ComposeResult:
        glyphs = self.console.glyphs
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
        log = self._log
        if log.display:
            if not log.has_focus:
                log.point_at(self._selected_log(), now)
            log.beat(now)
        else:
            log.let_go()

    @property
    def _log(self) -> FollowingLog:
        return self.query_one("#log", FollowingLog)

    def on_screen_suspend(self) -> None:
        """Nothing is read for a view that nobody sees."""
        if self.ready:
            self._log.let_go()

    def _selected_log(self) -> Source | None:
        """With the focus on the nodes, what the one under the cursor last worked on; else the run under the cursor."""
        if self.focused is self._node_table:
            node = self._node_table.model.current()
            if node is not None and (found := self.world.last_run_on(node.id)):
                return Source(run=found, node=node.name)
        cursor = self._run_table.model.cursor
        return Source(run=cursor) if cursor else None

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
        if text != self._said:
            self._said = text
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
        """The log that is followed, with the screen to itself."""
        if (source := self._selected_log()) is not None:
            self.console.operations.open_source(source)

    def action_events(self) -> None:
        """The events of what is under the cursor."""
        table = self._node_table if self.focused is self._node_table else self._run_table
        if table is self._node_table and (node := self._node_table.model.current()) is not None:
            self.console.operations.open_events(node.name)
        elif cursor := self._run_table.model.cursor:
            self.console.operations.open_events(cursor)

    def action_resolve(self) -> None:
        """Asks what became of the run that waits for a person."""
        if cursor := self._run_table.model.cursor:
            self.console.operations.ask_resolve(cursor)

    def action_why(self) -> None:
        """Opens the run and asks why it does not move."""
        if cursor := self._run_table.model.cursor:
            self.console.operations.open_run(cursor, why=True)

    def action_cordon(self) -> None:
        """Cordons the nodes that are chosen, or lets them have work again."""
        nodes = [self._node_table.model.rows[id] for id in self._node_table.model.selected()]
        self._do_run(lambda: self.console.operations.cordon_or_back(nodes))

    def action_enrol(self) -> None:
        """Shows the line that joins a node."""
        self._do_run(self.console.operations.enrol)

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
