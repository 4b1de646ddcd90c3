"""The view of stored pipelines, with their last result."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from gamenode_console import keys, texts, words
from gamenode_console.model import cells
from gamenode_console.model.cells import Cell, Shown
from gamenode_console.model.columns import Column
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import Changes
from gamenode_console.screens.listing import Listing
from gamenode_console.screens.reading import Reading
from gamenode_console.widgets.table import Table
from gamenode_proto.v1.pipeline_management_pb2 import PipelineSummary

#: Seconds between two looks.
EVERY = 5.0

COLUMNS: tuple[Column[PipelineSummary], ...] = (
    Column("name", "PIPELINE", 24, lambda each, now: each.pipeline.name, order=lambda each: each.pipeline.name),
    Column("version", "VER", 4, lambda each, now: str(each.pipeline.version), right=True, spare=3),
    Column("last", "LAST RUN", 15, lambda each, now: _last(each), order=lambda each: each.last_run.created_at),
    Column("age", "AGE", 7, lambda each, now: _age(each, now), right=True, spare=1, ages=True),
    Column("took", "TIME", 7, lambda each, now: _took(each), right=True, spare=2),
    Column("description", "DESCRIPTION", 30, lambda each, now: each.pipeline.description, spare=4, grow=True),
)


class Pipelines(Listing):
    """What can be started."""

    NAME = "Pipelines"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("pipelines",)
    BINDINGS = [*keys.bindings("pipelines")]

    _looked_at = 0.0
    _known = False

    def make_table(self) -> Table[PipelineSummary]:
        """By name."""
        model = TableModel(COLUMNS, lambda each: each.pipeline.name, faulty=_is_faulty, sort="name")
        return Table(model, empty=self._empty, glyphs=self.console.glyphs)

    def _empty(self) -> str:
        return "no pipelines\ngamenode pipeline apply FILE stores one" if self._known else "asking the server"

    def refill(self, everything: Changes, now: float) -> None:
        """Asks for them again."""
        self._looked_at = 0.0

    def beat(self, now: float) -> None:
        """Looks again from time to time: a pipeline is no thing that changes by the second."""
        if now - self._looked_at >= EVERY and not self.console.stale:
            self._looked_at = now
            self.console.work(self._look, group="pipelines")
        super().beat(now)

    async def _look(self) -> None:
        found = await self.console.core.ask(lambda gateway: gateway.pipelines.list())
        self._known = True
        model = self.table.model
        names = {each.pipeline.name for each in found}
        for gone in set(model.rows) - names:
            model.remove(gone)
        for each in found:
            model.put(each)
        self.console.operations.pipelines = sorted(names)

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the form that starts it."""
        self.console.operations.trigger(message.id)

    def action_show(self) -> None:
        """The file of the one under the cursor."""
        if cursor := self.table.model.cursor:
            self.console.work(partial(self._read, cursor), group="read")

    async def _read(self, name: str) -> None:
        found = (await self.console.core.ask(lambda gateway: gateway.pipelines.get(name))).pipeline
        title = f"Pipeline {found.name} v{found.version} by {found.created_by}"
        self.console.show(Reading(title, found.text, file=f"{found.name}.yaml"))

    def action_runs(self) -> None:
        """The runs of the one under the cursor."""
        if cursor := self.table.model.cursor:
            self.console.operations.open_runs(f"pipeline={cursor}")


def _is_faulty(each: PipelineSummary) -> bool:
    return words.run_state(each.last_run.state) in ("failed", "needs_attention")


def _last(each: PipelineSummary) -> Shown:
    return cells.state(words.run_state(each.last_run.state)) if each.last_run.id else Cell("never", "dim")


def _age(each: PipelineSummary, now: float) -> str:
    return texts.span(now - each.last_run.created_at) if each.last_run.id else ""


def _took(each: PipelineSummary) -> str:
    run = each.last_run
    return texts.span(run.finished_at - run.started_at) if run.finished_at and run.started_at else ""
