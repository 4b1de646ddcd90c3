"""A text to read: a pipeline's file as it is stored."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from gamenode_console import texts
from gamenode_console.screens.view import View


class Reading(View):
    """Text that fills the screen and scrolls; copied and exported as it is."""

    NAME = "Text"
    DEFAULT_CSS = "Reading VerticalScroll { padding: 0 1; } Reading Static { width: auto; height: auto; }"

    def __init__(self, title: str, text: str, *, file: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._file = file

    @property
    def title_text(self) -> str:
        """What it is."""
        return texts.one_line(self._title)

    def body(self) -> ComposeResult:
        """The text, inert."""
        with VerticalScroll(can_focus=True):
            yield Static("\n".join(texts.inert(line) for line in self._text.splitlines()), markup=False)

    def copied(self) -> str:
        """All of it."""
        return self._text

    def exported(self, kind: str = "") -> tuple[str, str] | None:
        """All of it."""
        return self._file, self._text
