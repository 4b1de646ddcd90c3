"""The line that joins a node, to be run on the host."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label

from gamenode_console import texts
from gamenode_proto.v1 import administration_pb2


class Enrolment(ModalScreen[None]):
    """Shows the line; `c` copies it."""

    DEFAULT_CSS = """
    Enrolment { align: center middle; }
    Enrolment Vertical { width: 90%; max-width: 120; height: auto; border: round $accent; background: $surface;
        padding: 0 1; }
    Enrolment Label { width: 1fr; height: auto; }
    Enrolment #line { padding: 1 0; text-style: bold; }
    """

    def __init__(self, token: administration_pb2.CreateJoinTokenResponse, copy: Callable[[str], None]) -> None:
        super().__init__()
        self._token = token
        self._copy = copy

    def compose(self) -> ComposeResult:
        """What to do, the line, how long it is good for."""
        with Vertical() as box:
            box.border_title = "Enrol a node"
            box.border_subtitle = "c copies the line · esc closes"
            yield Label("Run this on the host, once; then `gamenode-agent run --detach`:", markup=False)
            yield Label(self._token.join_command, id="line", markup=False)
            yield Label(f"It is good for one node until {texts.clock_time(self._token.expires_at)}.", markup=False)
            for warning in self._token.warnings:
                yield Label(f"Note: {warning}", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Copies, or closes."""
        if event.key == "c":
            self._copy(self._token.join_command)
        elif event.key in ("escape", "q", "enter"):
            self.dismiss(None)
        else:
            return
        event.stop()
