"""The view of all nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gamenode_console import documents, keys
from gamenode_console.documents import nodes as node_documents
from gamenode_console.model import node_columns
from gamenode_console.model.table import TableModel
from gamenode_console.model.world import Changes
from gamenode_console.screens.listing import Listing
from gamenode_console.widgets.table import Table
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import nodes_pb2

Node = nodes_pb2.Node


def node_words(node: Node) -> Mapping[str, Any]:
    """What a filter looks at: the same document that `node ls -o json` prints."""
    document: documents.Document = node_documents.node(node)
    return document


class Nodes(Listing):
    """Every node, what it has and how full it is."""

    NAME = "Nodes"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("nodes",)
    BINDINGS = [*keys.bindings("nodes")]

    def make_table(self) -> Table[Node]:
        """Those that are not well stand first."""
        model = TableModel(
            node_columns.columns(self.console.glyphs),
            lambda node: node.id,
            node_words,
            faulty=node_columns.is_faulty,
            sort="state",
        )
        return Table(model, empty=self._empty, glyphs=self.console.glyphs)

    def _empty(self) -> str:
        if not self.world.nodes_known:
            return "waiting for the server"
        return "no nodes yet\n+ shows the line that joins one"

    def refill(self, everything: Changes, now: float) -> None:
        """All nodes that there are."""
        model = self.table.model
        for gone in set(model.rows) - everything.nodes:
            model.remove(gone)
        self.changed(everything, now)

    def changed(self, changes: Changes, now: float) -> None:
        """Nodes as they change."""
        put_nodes(self.table, self.world.nodes, changes)

    def chosen_nodes(self) -> list[str]:
        """Names of the marked nodes, or of the one under the cursor."""
        return [node.name for node in self._selected()]

    def _selected(self) -> list[Node]:
        model = self.table.model
        return [model.rows[id] for id in model.selected() if id in model.rows]

    def on_table_opened(self, message: Table.Opened) -> None:
        """Opens the node."""
        self.console.operations.open_node(message.id)

    def action_describe(self) -> None:
        """Opens the node."""
        if cursor := self.table.model.cursor:
            self.console.operations.open_node(cursor)

    def action_cordon(self) -> None:
        """Cordons what is chosen; where all of it is cordoned, lets it have work again."""
        try:
            self.console.operations.cordon_or_back(self._selected())
        except GameNodeError as error:
            self.console.complain(error)

    def action_drain(self) -> None:
        """Asks until when the node under the cursor is emptied."""
        if (node := self.table.model.current()) is not None:
            self.console.steering.ask_drain(node)

    def action_label(self) -> None:
        """Asks for labels of what is chosen."""
        self.console.operations.ask_labels(self._selected())

    def action_logs(self) -> None:
        """The log of what the node under the cursor last worked on, or of one of its containers."""
        if (node := self.table.model.current()) is not None:
            self.console.operations.choose_log(node)

    def action_events(self) -> None:
        """The events of the node under the cursor."""
        if (node := self.table.model.current()) is not None:
            self.console.operations.open_events(node.name)

    def action_enrol(self) -> None:
        """Shows the line that joins a node."""
        try:
            self.console.operations.enrol()
        except GameNodeError as error:
            self.console.complain(error)


def put_nodes(table: Table[Node], nodes: Mapping[str, Node], changes: Changes) -> None:
    """Puts changed nodes into a table, and takes out those that went."""
    for id in changes.gone_nodes:
        table.model.remove(id)
    for id in changes.nodes:
        if (node := nodes.get(id)) is not None:
            table.model.put(node)
