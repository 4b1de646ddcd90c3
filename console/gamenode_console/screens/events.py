"""The view of events, as they come."""

from __future__ import annotations

from typing import ClassVar

from gamenode_console import keys
from gamenode_console.model import event_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import EVENTS_KEPT, Changes
from gamenode_console.screens.listing import Listing
from gamenode_console.widgets.table import Table
from gamenode_proto.v1 import work_pb2

Event = work_pb2.Event


class Events(Listing):
    """Newest first; the last ones only, as many as the console keeps."""

    NAME = "Events"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("events",)
    BINDINGS = [*keys.bindings("events")]

    def make_table(self) -> Table[Event]:
        """By time."""
        model = TableModel(
            event_columns.columns(self._node_name),
            lambda event: str(event.cursor),
            faulty=event_columns.is_faulty,
            sort="time",
            reverse=True,
        )
        return Table(model, empty=lambda: "no events in the last hour", glyphs=self.console.glyphs)

    def _node_name(self, node_id: str) -> str:
        node = self.world.nodes.get(node_id)
        return node.name if node is not None else node_id

    def refill(self, everything: Changes, now: float) -> None:
        """Those that are kept."""
        model = self.table.model
        for gone in set(model.rows) - {str(event.cursor) for event in everything.events}:
            model.remove(gone)
        self.changed(everything, now)

    def changed(self, changes: Changes, now: float) -> None:
        """New ones; the oldest go."""
        model = self.table.model
        for event in changes.events:
            model.put(event)
        if len(model.rows) > EVENTS_KEPT + EVENTS_KEPT // 10:
            for cursor in sorted(map(int, model.rows))[: len(model.rows) - EVENTS_KEPT]:
                model.remove(str(cursor))

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens what it is about: the run, or else the node."""
        event = self.table.model.rows.get(message.id)
        if event is None:
            return
        if event.run_id:
            self.console.operations.open_run(event.run_id)
        elif event.node_id:
            self.console.operations.open_node(event.node_id)
