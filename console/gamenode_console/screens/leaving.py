"""The question before the console is left while it holds the server: leave it running, or stop it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from gamenode_console.options import Farewell


class Leaving(ModalScreen[Farewell | None]):
    """Answers how to leave; None: not at all."""

    DEFAULT_CSS = """
    Leaving { align: center middle; }
    Leaving Vertical { width: 70; max-width: 95%; height: auto; border: round $warning; background: $surface;
        padding: 0 1; }
    Leaving Label { width: 1fr; height: auto; padding: 0 0 1 0; }
    Leaving OptionList { height: auto; border: none; background: $surface; padding: 0; }
    """

    def __init__(self, *, embedded: bool, in_progress: int) -> None:
        super().__init__()
        self._embedded = embedded
        self._in_progress = in_progress

    def compose(self) -> ComposeResult:
        """What goes on, and the ways to leave; the first is the one that loses nothing."""
        runs = f"{self._in_progress} run{'' if self._in_progress == 1 else 's'} in progress"
        with Vertical() as box:
            box.border_title = "Leave the console"
            if self._embedded:
                yield Label(f"This console holds the server; {runs}.", markup=False)
                yield OptionList(
                    Option("leave it running: a server without a terminal takes over", id=Farewell.LEAVE_RUNNING),
                    Option("stop the server: agents finish what they do, and tell it later", id=Farewell.STOP_SERVER),
                    Option("stay", id="stay"),
                )
            else:
                yield Label(f"The server goes on by itself; {runs}.", markup=False)
                yield OptionList(Option("leave", id=Farewell.LEAVE_RUNNING), Option("stay", id="stay"))

    def on_mount(self) -> None:
        """The first way is chosen with enter. With nothing in progress, an embedded server may as well stop."""
        options = self.query_one(OptionList)
        options.focus()
        options.highlighted = 1 if self._embedded and not self._in_progress else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """The answer."""
        chosen = event.option.id
        self.dismiss(None if chosen in (None, "stay") else Farewell(chosen))

    def on_key(self, event: events.Key) -> None:
        """Escape stays."""
        if event.key in ("escape", "n"):
            event.stop()
            self.dismiss(None)
