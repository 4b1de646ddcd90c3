"""The head line: which view, which server, how the connection is, what needs attention, and what time it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from gamenode_console.model.headline import headline
from gamenode_console.widgets.styles import rich_style

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp
    from gamenode_console.screens.view import View


class Header(Widget):
    """One line; drawn anew only when it says something else."""

    DEFAULT_CSS = "Header { dock: top; height: 1; background: $panel; color: $foreground; }"

    _shown: object = None

    def beat(self, now: float) -> None:
        """Draws it anew where it has changed."""
        parts = self._parts(now)
        if parts != self._shown:
            self._shown = parts
            self.refresh()

    def _parts(self, now: float) -> list[tuple[str, str]]:
        app = cast("ConsoleApp", self.app)
        view = cast("View", self.screen)
        return headline(
            app.world, view=view.title_text, now=now, width=self.size.width, notes=app.notes(), utf8=app.utf8
        )

    def render_line(self, y: int) -> Strip:
        """The line as segments."""
        app = cast("ConsoleApp", self.app)
        base = self.rich_style
        segments = [Segment(text, base + rich_style(app, word)) for text, word in self._parts(app.now())]
        return Strip(segments).adjust_cell_length(self.size.width, base)
