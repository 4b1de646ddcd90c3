"""A short list to choose from: `enter` takes one, `esc` none."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from gamenode_console import texts


class Choosing(ModalScreen[str]):
    """Ends with the id of what was chosen, or with nothing."""

    DEFAULT_CSS = """
    Choosing { align: center middle; }
    Choosing Vertical { width: 80; max-width: 96%; height: auto; max-height: 80%; border: round $accent;
        background: $surface; padding: 0 1; }
    Choosing OptionList { height: auto; max-height: 16; border: none; background: $surface; }
    """

    def __init__(self, title: str, choices: Sequence[tuple[str, str]]) -> None:
        """`choices` are ids, each with its text."""
        super().__init__()
        self._title = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical() as box:
            box.border_title = texts.one_line(self._title)
            box.border_subtitle = "enter takes it · esc closes"
            yield OptionList(*(Option(texts.one_line(text), id=id) for id, text in self._choices), markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """It was chosen."""
        self.dismiss(event.option.id or "")

    def on_key(self, event: events.Key) -> None:
        """Nothing was."""
        if event.key in ("escape", "q"):
            event.stop()
            self.dismiss("")
