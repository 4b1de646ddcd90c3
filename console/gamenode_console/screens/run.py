"""One run: what it is, how far it has come on which node, and why it does not move."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from gamenode_console import keys, texts, words
from gamenode_console.core.logfeeds import Source
from gamenode_console.live import SYMBOLS
from gamenode_console.model import run_columns, task_columns
from gamenode_console.model.failures import failures
from gamenode_console.model.table import TableModel
from gamenode_console.model.watched import WatchedRun, current_step
from gamenode_console.model.world import Changes
from gamenode_console.screens.following import FollowingLog
from gamenode_console.screens.listing import Listing
from gamenode_console.widgets.styles import rich_style
from gamenode_console.widgets.table import Table
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import work_pb2

if TYPE_CHECKING:
    from gamenode_console.core.asking import Feed
    from gamenode_console.gateway import Gateway


#: Kinds of failure that are told.
SHOWN = 3


class RunDetail(Listing):
    """A run's facts above the matrix of its steps and nodes, and the log of the cell that matters beneath."""

    NAME = "Run"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("runs",)
    BINDINGS = [*keys.bindings("runs")]
    DEFAULT_CSS = """
    RunDetail #facts { height: auto; max-height: 8; padding: 0 1; background: $surface; }
    RunDetail Table { height: 3fr; }
    RunDetail FollowingLog { height: 2fr; }
    RunDetail.-low FollowingLog { display: none; }
    """

    def __init__(self, run_id: str, *, why: bool = False) -> None:
        """`why`: it is asked at once why it does not move."""
        super().__init__()
        self._ask_why = why
        self._run_id = run_id
        self._watched = WatchedRun()
        self._feed: Feed | None = None
        self._steps: list[str] = []
        self._why = ""

    @property
    def title_text(self) -> str:
        """Which run."""
        run = self._watched.run
        return f"Run {run.pipeline if run is not None else ''} {self._run_id}"

    def body(self) -> ComposeResult:
        """Facts, and the matrix."""
        yield Static("", id="facts", markup=False)
        yield self.make_table()
        yield FollowingLog()

    def make_table(self) -> Table[work_pb2.Task]:
        """Trouble stands first."""
        model = TableModel(
            task_columns.columns(self._steps, self.console.glyphs),
            lambda task: task.id,
            faulty=task_columns.is_faulty,
            sort="state",
        )
        return Table(model, empty=lambda: self._watched.problem or "no tasks yet", glyphs=self.console.glyphs)

    def on_mount(self) -> None:
        """Begins to watch."""
        self._feed = self.console.core.spawn(partial(_watch, self._run_id, self._watched))
        if self._ask_why:
            self.action_why()

    def on_unmount(self) -> None:
        """Ends it."""
        if self._feed is not None:
            self._feed.cancel()

    async def _other_steps(self, steps: list[str]) -> None:
        self._steps = steps
        old = self.table
        table = self.make_table()
        for task in self._watched.tasks.values():
            table.model.put(task)
        await self.mount(table, before=old)
        await old.remove()
        table.focus()

    def refill(self, everything: Changes, now: float) -> None:
        """What is watched is filled by its own feed."""

    def beat(self, now: float) -> None:
        """Draws what has changed."""
        steps = self._watched.step_ids
        if steps != self._steps:
            self.call_next(self._other_steps, steps)
            self._steps = steps
            return
        for task in self._watched.take():
            self.table.model.put(task)
        self.query_one("#facts", Static).update(self._facts(now))
        super().beat(now)
        log = self.query_one(FollowingLog)
        if log.display:
            if not log.has_focus:
                log.point_at(self._selected_log(), now)
            log.beat(now)
        else:
            log.let_go()

    def on_screen_suspend(self) -> None:
        """Nothing is read for a view that nobody sees."""
        if self.ready:
            self.query_one(FollowingLog).let_go()

    def _selected_log(self) -> Source:
        """The log of what is under the cursor, at the step that matters."""
        task = self.table.model.current()
        if task is None:
            return Source(run=self._run_id)
        step = current_step(task)
        return Source(run=self._run_id, node=task.node.name, step=step.id if step is not None else "")

    def _facts(self, now: float) -> Text:
        run = self._watched.run
        if run is None:
            return Text(texts.one_line(self._watched.problem or "opening"))
        state = run_columns.state_of(run).replace("_", " ")
        took = run_columns.took(run, now)
        first = f"{state} · {took if isinstance(took, str) else '-'} · by {run.created_by} · on {run.target or '-'}"
        plain = [first + (f" · {run.note}" if run.note else "")]
        if run.params:
            plain.append(", ".join(f"{name}={words.value(value)}" for name, value in sorted(run.params.items())))
        said = Text("\n".join(map(texts.one_line, plain)))
        alike = failures(self._watched.tasks.values())
        wrong = [f"{SYMBOLS['failed'][0 if self.console.utf8 else 1]} {failure.line}" for failure in alike[:SHOWN]]
        if run.error.message and not alike:
            wrong.append(f"{run.error.code}: {run.error.message}")
        for line in wrong:
            said.append(f"\n{texts.one_line(line)}", rich_style(self.app, "bad"))
        if len(alike) > SHOWN:
            said.append(f"\nand {len(alike) - SHOWN} other kinds of failure; z lists only what failed")
        if self._why:
            said.append(f"\n{texts.one_line(self._why)}")
        return said

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the log of the task's step that matters."""
        self.action_logs()

    def action_logs(self) -> None:
        """The log of what is under the cursor, at the step that matters."""
        self.console.operations.open_source(self._selected_log())

    def action_events(self) -> None:
        """Its events."""
        self.console.operations.open_events(self._run_id)

    def action_resolve(self) -> None:
        """Asks what became of the task under the cursor."""
        task = self.table.model.current()
        self.console.operations.ask_resolve(self._run_id, node=task.node.name if task is not None else "")

    def action_cancel(self) -> None:
        """Cancels it."""
        try:
            self.console.operations.cancel([self._run_id])
        except GameNodeError as error:
            self.console.complain(error)

    def action_retry(self) -> None:
        """Runs it again where it failed."""
        try:
            self.console.operations.retry(self._run_id)
        except GameNodeError as error:
            self.console.complain(error)

    def action_why(self) -> None:
        """Asks why it does not move."""
        self.console.work(self._explain, group="why")

    async def _explain(self) -> None:
        said = await self.console.core.ask(lambda gateway: gateway.pipelines.explain(self._run_id))
        self._why = "; ".join([said.summary, *(f"{each.node}: {each.text}" for each in said.tasks)])

    def chosen_nodes(self) -> list[str]:
        """The nodes of what is marked or under the cursor."""
        model = self.table.model
        return [model.rows[id].node.name for id in model.selected() if id in model.rows]


async def _watch(run_id: str, watched: WatchedRun, gateway: Gateway) -> None:
    """Fills it until the run has ended and its logs have settled."""
    try:
        async for update in gateway.pipelines.watch_run(run_id):
            watched.put(update)
    except GameNodeError as error:
        watched.problem = error.message
