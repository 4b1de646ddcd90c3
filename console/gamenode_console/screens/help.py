"""The keys that work here: those of the pane that has the focus first, then the view's, then everybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from gamenode_console import keys


class Help(ModalScreen[None]):
    """A page that scrolls; any of its keys closes it."""

    BINDINGS = [("escape,q,question_mark,f1", "dismiss", "close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help VerticalScroll { width: 78; max-width: 98%; height: auto; max-height: 94%; border: round $accent;
        background: $surface; padding: 0 1; border-subtitle-align: center; }
    Help Static { width: 1fr; height: auto; }
    """

    def __init__(self, title: str, groups: Sequence[str], keymap: Mapping[str, str]) -> None:
        super().__init__()
        self._title = title
        self._groups = groups
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        """The groups with their keys."""
        page = VerticalScroll()
        page.border_title = f"Keys: {self._title}"
        page.border_subtitle = "esc closes · : takes commands · gamenode --help for scripts"
        with page:
            for title, found in keys.of_groups(self._groups, self._keymap):
                yield Static(Content.styled(title, "bold $accent"))
                width = max(cell_len(keys.named(key.keys)) for key in found)
                for key in found:
                    yield Static(Content.assemble((f"  {keys.named(key.keys).ljust(width)}", "bold"), "  ", key.text))

    def on_mount(self) -> None:
        """The page scrolls with the keys at once."""
        self.query_one(VerticalScroll).focus()
