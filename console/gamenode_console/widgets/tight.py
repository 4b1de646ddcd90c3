"""Writes no more to the terminal than what was asked to be drawn anew: matters to everybody who sits behind SSH.

Textual itself begins at the left edge of the pane, whatever part of a line has changed.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor


class TightUpdate(ChopsUpdate):
    """Parts of lines, each from its first to its last cell."""

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        written: list[str] = []
        for y, left, right in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                first, last = max(x, left), min(end, right)
                if strip is not None and first < last:
                    written.append(Control.move_to(first, y).segment.text)
                    written.append(strip.crop(first - x, last - x).render(console))
        return "".join(written)


class TightCompositor(Compositor):
    """Textual's own, but for the updates of parts."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """What has changed since the last time."""
        update = super().render_partial_update()
        return update and TightUpdate(update.chops, update.spans, update.chop_ends)
