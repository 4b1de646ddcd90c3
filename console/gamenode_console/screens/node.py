"""One node: how it is, its last hour, its containers and events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from gamenode_console import keys, texts, words
from gamenode_console.model.bars import spark
from gamenode_console.model.world import Changes
from gamenode_console.screens.view import View
from gamenode_console.widgets.styles import rich_style
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import nodes_pb2, state_management_pb2, work_pb2

#: Seconds between two looks at the hour and the containers.
EVERY = 5.0
EVENTS_SHOWN = 8


class NodeDetail(View):
    """A page about one node, which scrolls."""

    NAME = "Node"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("nodes",)
    BINDINGS = [*keys.bindings("nodes")]
    DEFAULT_CSS = "NodeDetail VerticalScroll { padding: 0 1; } NodeDetail Static { height: auto; }"

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id
        self._samples: Sequence[nodes_pb2.Metrics] = ()
        self._containers: Sequence[state_management_pb2.NodeContainer] = ()
        self._looked_at = 0.0

    @property
    def _node(self) -> nodes_pb2.Node | None:
        return self.world.nodes.get(self._node_id)

    @property
    def title_text(self) -> str:
        """Which node."""
        return f"Node {self._node.name if self._node is not None else self._node_id}"

    def body(self) -> ComposeResult:
        """One page."""
        with VerticalScroll():
            yield Static("", id="page", markup=False)

    def refill(self, everything: Changes, now: float) -> None:
        """Looks anew."""
        self._looked_at = 0.0

    def beat(self, now: float) -> None:
        """Draws it about once a second."""
        if now - self._looked_at >= EVERY and not self.console.stale:
            self._looked_at = now
            self.console.work(self._look, group="node")
        page = self._page(now)
        if page != getattr(self, "_drawn", None):
            self._drawn = page
            self.query_one("#page", Static).update(page)

    async def _look(self) -> None:
        core = self.console.core
        hour = await core.ask(lambda gateway: gateway.state.node_metrics(self._node_id))
        self._samples = hour.samples
        self._containers = await core.ask(lambda gateway: gateway.containers.list(node=self._node_id, all=True))

    def _page(self, now: float) -> Text:
        node = self._node
        if node is None:
            return Text("this node is not there any more")
        page = Text()

        def say(title: str, text: str, word: str = "") -> None:
            page.append(f"{title:<11}", rich_style(self.app, "dim"))
            page.append(texts.one_line(text) + "\n", rich_style(self.app, word))

        state = words.node_state(node.state)
        say("State", f"{state.replace('_', ' ')}, {words.admin_state(node.admin_state)}", state)
        if node.HasField("drain"):
            drain = node.drain
            left = "empty" if drain.done else f"{drain.left} tasks left"
            until = f", cancelled in {texts.span(drain.until - now)}" if drain.until and not drain.done else ""
            why = f": {drain.reason}" if drain.reason else ""
            say("Drained", f"by {drain.by}{why}; {left}{until}", "" if drain.done else "warn")
        say("Labels", ", ".join(f"{key}={value}" for key, value in sorted(node.labels.items())) or "-")
        say("Address", f"{node.address or '-'}, seen {texts.span(now - node.last_seen) if node.last_seen else '-'} ago")
        has = node.facts.resources
        say("Has", f"{has.cpus:g} CPUs, {texts.size(has.memory_total)} memory, {texts.size(has.disk_total)} disk")
        say("Agent", f"{node.facts.agent_version or '-'}, {node.facts.slots} slots, {node.tasks_running} tasks")
        engine = node.facts.engine
        if engine.address:
            fine = engine.available
            say("Engine", f"{engine.name} {engine.version}" if fine else engine.problem, "" if fine else "warn")
        page.append("\n")
        self._hour(page)
        page.append("\nContainers\n", rich_style(self.app, "accent"))
        for each in self._containers:
            container = each.container
            usage = container.usage
            used = f"{usage.cpu_percent:5.1f}% {texts.size(usage.memory_used):>6}" if usage.sampled_at else " " * 13
            page.append(f"  {texts.one_line(container.name):<28} ")
            page.append(f"{container.state:<10}", rich_style(self.app, container.state))
            page.append(f" {used}  {texts.one_line(container.image)}{'' if container.own else '  (not ours)'}\n")
        if not self._containers:
            page.append("  none\n", rich_style(self.app, "dim"))
        page.append("\nEvents\n", rich_style(self.app, "accent"))
        for event in self._events():
            page.append(f"  {texts.clock_time(event.time)[11:19]} {event.type:<22} {event.run_id} {event.step_id}\n")
        return page

    def _hour(self, page: Text) -> None:
        width = max(10, min(self.size.width - 24, 120))
        rows = (
            ("CPU", [sample.cpu_percent for sample in self._samples], 100.0),
            ("Memory", [sample.memory_percent for sample in self._samples], 100.0),
            ("Disk", [sample.disk_percent for sample in self._samples], 100.0),
            ("Receives", [sample.net_rx_bytes_per_s for sample in self._samples], None),
            ("Sends", [sample.net_tx_bytes_per_s for sample in self._samples], None),
        )
        for title, values, high in rows:
            page.append(f"{title:<11}", rich_style(self.app, "dim"))
            line = spark(values, width, high=high, glyphs=self.console.glyphs)
            page.append(line, rich_style(self.app, "accent"))
            if values:
                last = f"{values[-1]:.0f}%" if high else f"{texts.size(values[-1])}/s"
                page.append(f" {last}")
            page.append("\n")

    def _events(self) -> list[work_pb2.Event]:
        own = [event for event in self.world.events if event.node_id == self._node_id]
        return own[: -EVENTS_SHOWN - 1 : -1]

    def chosen_nodes(self) -> list[str]:
        """This one."""
        return [self._node.name] if self._node is not None else []

    def copied(self) -> str:
        """The page as text."""
        return self._page(self.console.now()).plain

    def exported(self, kind: str = "") -> tuple[str, str] | None:
        """The page as text."""
        return f"{self.title_text.lower().replace(' ', '-')}.txt", self.copied()

    def action_cordon(self) -> None:
        """Cordons it, or lets it have work again."""
        if (node := self._node) is not None:
            self._try(lambda: self.console.operations.cordon_or_back([node]))

    def action_drain(self) -> None:
        """Asks until when it is emptied."""
        if (node := self._node) is not None:
            self.console.steering.ask_drain(node)

    def action_label(self) -> None:
        """Asks for its labels."""
        if (node := self._node) is not None:
            self.console.operations.ask_labels([node])

    def action_enrol(self) -> None:
        """Shows the line that joins another one."""
        self._try(self.console.operations.enrol)

    def action_logs(self) -> None:
        """The log of what it last worked on, or of one of its containers."""
        if (node := self._node) is not None:
            self.console.operations.choose_log(node)

    def action_events(self) -> None:
        """Its events."""
        if (node := self._node) is not None:
            self.console.operations.open_events(node.name)

    def _try(self, doing: Callable[[], None]) -> None:
        try:
            doing()
        except GameNodeError as error:
            self.console.complain(error)
