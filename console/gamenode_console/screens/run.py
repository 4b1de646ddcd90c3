"""One run: what it is, how far it has come on which node, and why it does not move."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from gamenode_console import keys, texts, words
from gamenode_console.model import run_columns, task_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.watched import WatchedRun, current_step
from gamenode_console.model.world import Changes
from gamenode_console.screens.listing import Listing
from gamenode_console.widgets.table import Table
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import work_pb2

if TYPE_CHECKING:
    from gamenode_console.core.asking import Feed
    from gamenode_console.gateway import Gateway


class RunDetail(Listing):
    """A run's facts above the matrix of its steps and nodes."""

    NAME = "Run"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("runs",)
    BINDINGS = [*keys.bindings("runs")]
    DEFAULT_CSS = """
    RunDetail #facts { height: auto; max-height: 6; padding: 0 1; background: $surface; }
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
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
        self.query_one("#facts", Static).update("\n".join(self._facts(now)))
        super().beat(now)

    def _facts(self, now: float) -> list[str]:
        run = self._watched.run
        if run is None:
            return [self._watched.problem or "opening"]
        state = run_columns.state_of(run).replace("_", " ")
        took = run_columns.took(run, now)
        first = f"{state} · {took if isinstance(took, str) else '-'} · by {run.created_by} · on {run.target or '-'}"
        found = [first + (f" · {run.note}" if run.note else "")]
        if run.params:
            found.append(", ".join(f"{name}={words.value(value)}" for name, value in sorted(run.params.items())))
        if run.error.message:
            found.append(f"{run.error.code}: {run.error.message}")
        if self._why:
            found.append(self._why)
        return [texts.one_line(line) for line in found]

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the log of the task's step that matters."""
        self.action_logs()

    def action_logs(self) -> None:
        """The log of what is under the cursor, at the step that matters."""
        task = self.table.model.current()
        if task is None:
            self.console.operations.open_log(self._run_id)
            return
        step = current_step(task)
        self.console.operations.open_log(self._run_id, node=task.node.name, step=step.id if step is not None else "")

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
