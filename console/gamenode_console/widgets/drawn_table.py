"""A live table, drawn line by line: what a beat costs depends on how many rows are seen, not on how many there are.

The model knows rows, order, cursor and marks; this draws them. The line under the cursor stays where it is on the
screen when rows come and go above it. Whoever owns the table puts rows into `model` and calls `beat`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from gamenode_console.model.cells import Shown, fitted
from gamenode_console.model.columns import Placed, placed
from gamenode_console.model.glyphs import UTF8, Glyphs
from gamenode_console.model.table import Settled, TableModel
from gamenode_console.texts import one_line
from gamenode_console.widgets.styles import kind, palette

R = TypeVar("R")

#: Lines that the header takes, and cells before the first column: the mark and a gap.
HEADER = 1
GUTTER = 2
#: Rows that a filter judges at a time; between two times keys are heard.
SLICE = 150


class DrawnTable(ScrollView, Generic[R], can_focus=True):
    """Draws a TableModel. `empty` says why there is nothing, and what to do."""

    DEFAULT_CSS = """
    DrawnTable {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
    }
    """

    class Said(Message):
        """Something of a table; `id` is the row, empty where there is none."""

        def __init__(self, table: DrawnTable[Any], id: str) -> None:
            super().__init__()
            self.table = table
            self.id = id

        @property
        def control(self) -> DrawnTable[Any]:
            """The table, for selectors of handlers."""
            return self.table

    class Moved(Said, namespace="table"):
        """The cursor is on another row."""

    class Opened(Said, namespace="table"):
        """A row was chosen with enter or a double click."""

    class Marked(Said, namespace="table"):
        """Other rows are marked."""

    class Listed(Said, namespace="table"):
        """Other rows are listed, or the order or its staleness is another: for titles and counts."""

    def __init__(
        self,
        model: TableModel[R],
        *,
        empty: Callable[[], str] = lambda: "nothing here",
        glyphs: Glyphs = UTF8,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.model = model
        self.glyphs = glyphs
        self.wide = False
        self._empty = empty
        self._frozen = False
        self._stale = False
        self._skipped = 0
        self._now = 0.0
        self._order_told = False
        self._placed: list[Placed[R]] = []
        self._strips: dict[str, tuple[object, Strip]] = {}
        #: What is on the screen of the rows, cell by cell.
        self._cells: dict[str, dict[str, Shown]] = {}
        self._aged_at = 0.0
        self._palette: Mapping[str, Style] = {}
        self._base = Style.null()
        self._judging: Timer | None = None

    # -- what the owner does ------------------------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """Takes in what was put, and draws anew what has changed and is seen. `now` in Unix seconds."""
        if self._frozen:
            return
        self._now = now
        anchor = self._anchor()
        settled = self.model.settle(now)
        for id in settled.changed:
            self._strips.pop(id, None)
        self._take_over(settled, anchor)
        self._refresh_cells(settled.changed)

    def _relist(self) -> None:
        """Another filter or order was asked for: that shows at once, and in a frozen table too."""
        anchor = self._anchor()
        self._take_over(self.model.relist(), anchor)

    def _take_over(self, settled: Settled, anchor: tuple[str, int]) -> None:
        if settled.relisted:
            self._relisted(anchor)
        if settled.relisted or self._order_told is not self.model.order_stale:
            self._order_told = self.model.order_stale
            self._refresh_line(0)
            self.post_message(self.Listed(self, self.model.cursor))
        if settled.moved:
            self.post_message(self.Moved(self, self.model.cursor))

    @property
    def frozen(self) -> bool:
        """What is shown stays as it is, whatever is put; `beat` takes it in afterwards."""
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        self._frozen = value

    @property
    def stale(self) -> bool:
        """What is shown is not known to be so any more: drawn in grey."""
        return self._stale

    @stale.setter
    def stale(self, value: bool) -> None:
        if value is not self._stale:
            self._stale = value
            self._redraw()

    @property
    def shown(self) -> list[Placed[R]]:
        """The columns that are drawn now."""
        return self._placed

    def line_text(self) -> str:
        """The row under the cursor as text, for the clipboard."""
        row = self.model.current()
        if row is None:
            return ""
        return "  ".join(each.column.text(row, self._now) for each in self._placed)

    def set_filter(self, text: str) -> str:
        """Lists what matches; returns what is wrong with the text, if anything."""
        problem = self.model.filter(text)
        if not problem:
            self._judge()
        return problem

    # -- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _top(self) -> int:
        return self.scroll_offset.y

    @property
    def _lines(self) -> int:
        """How many rows are seen at most."""
        return max(0, self.size.height - HEADER)

    def render_line(self, y: int) -> Strip:
        """The header, a row, or what is said where there are none."""
        width = self.size.width
        if not self._palette:
            self._palette, self._base = palette(self.app), self.rich_style
        if y < HEADER:
            return self._header(width)
        at = self._top + y - HEADER
        visible = self.model.visible
        if at < len(visible):
            return self._row(visible[at], at, width)
        return self._blank(y, width)

    def _header(self, width: int) -> Strip:
        look = self._base + self._palette["header"]
        segments = [Segment(" " * GUTTER, look)]
        at = 0
        for each in self._placed:
            column = each.column
            sorted_by = column.key == self.model.sort_key
            arrow = (self.glyphs.descending if self.model.reverse else self.glyphs.ascending) if sorted_by else ""
            if sorted_by and self.model.order_stale:
                arrow += "?"
            title = column.title[: max(0, each.width - len(arrow))] + arrow
            segments.append(Segment(" " * (each.x - at), look))
            for text, _ in fitted(title, each.width, right=column.right, more=self.glyphs.more):
                segments.append(Segment(text, look + self._palette["sorted"] if sorted_by else look))
            at = each.x + each.width
        return Strip(segments).adjust_cell_length(width, look)

    def _row(self, id: str, at: int, width: int) -> Strip:
        selection = self.model.selection
        cursor = at == selection.position
        within = bool(selection.range_start) and at in selection.within_range()
        look = (width, cursor and (self.has_focus, True), id in selection.marks, within)
        found = self._strips.get(id)
        if found is not None and found[0] == look:
            return found[1]
        if len(self._strips) > 8 * (self._lines + 1):
            self._strips.clear()
            self._cells.clear()
        strip = self._draw(id, width, cursor=cursor, marked=look[2], within=within)
        self._strips[id] = (look, strip)
        return strip

    def _draw(self, id: str, width: int, *, cursor: bool, marked: bool, within: bool) -> Strip:
        row = self.model.rows[id]
        cells = self._cells[id] = {each.column.key: each.column.cell(row, self._now) for each in self._placed}
        styles, base = self._palette, self._base
        over = styles["cursor" if self.has_focus else "cursor-idle"] if cursor else None
        grey = styles["dim"] if self._stale else None
        ground = base + over if over is not None else base
        sign = self.glyphs.mark if marked else self.glyphs.range if within else " "
        segments = [Segment(sign.ljust(GUTTER), ground + styles["mark"])]
        at = 0
        for each in self._placed:
            if each.x > at:
                segments.append(Segment(" " * (each.x - at), ground))
            for text, word in fitted(
                cells[each.column.key], each.width, right=each.column.right, more=self.glyphs.more
            ):
                look = grey or (styles.get(kind(word)) if word else None)
                style = ground if look is None else base + look if over is None else base + look + over
                segments.append(Segment(text, style))
            at = each.x + each.width
        return Strip(segments).simplify().adjust_cell_length(width, ground)

    def _blank(self, y: int, width: int) -> Strip:
        if not self.model.visible:
            lines = self._nothing().splitlines()
            at = y - HEADER - 1
            if 0 <= at < len(lines):
                text = fitted(one_line(lines[at]), max(1, width - 2 * GUTTER), more=self.glyphs.more)[0].text
                style = self._base + self._palette["dim"]
                return Strip([Segment(" " * GUTTER + text, style)]).adjust_cell_length(width, style)
        return Strip.blank(width, self._base)

    def _nothing(self) -> str:
        model = self.model
        if model.rows and model.filter_text:
            return f"0 of {len(model.rows):,} match {model.filter_text}\nesc clears the filter"
        if model.rows and model.only_faulty:
            return f"none of {len(model.rows):,} is unwell\nz shows all"
        return self._empty()

    # -- what is drawn anew -------------------------------------------------------------------------------------------

    def _anchor(self) -> tuple[str, int]:
        """The row that stays where it is, and its line: the cursor's, or the first that is seen where that is not."""
        selection, top = self.model.selection, self._top
        if top <= selection.position < top + self._lines or top >= len(selection.visible):
            return selection.cursor, selection.position - top
        return selection.visible[top], 0

    def _relisted(self, anchor: tuple[str, int]) -> None:
        """Other rows are listed: the anchor stays on its line of the screen, or who took its place."""
        id, line = anchor
        visible = self.model.visible
        self.virtual_size = Size(self.size.width, len(visible) + HEADER)
        at = visible.index(id) if id in visible else self.model.selection.position
        self.scroll_to(y=max(0, at - line), animate=False, force=True, immediate=True)
        self.refresh()

    def _refresh_line(self, y: int) -> None:
        self.refresh(Region(0, y, self.size.width, 1))

    def _refresh_cells(self, changed: Collection[str]) -> None:
        """Of the rows that are seen, draws only cells that say something else: a whole line costs an SSH link a KB.

        Rows that nobody put are looked at once a second, for cells that change by time alone.
        """
        aging = [each for each in self._placed if each.column.ages] if self._now - self._aged_at >= 1.0 else []
        if aging:
            self._aged_at = self._now
        for line, id in enumerate(self.model.visible[self._top : self._top + self._lines]):
            if looked_at := self._placed if id in changed else aging:
                self._refresh_row(id, line + HEADER, looked_at)

    def _refresh_row(self, id: str, y: int, looked_at: Iterable[Placed[R]]) -> None:
        cells = self._cells.get(id)
        if cells is None:  # it has not been drawn yet, or nothing is known of how
            self._refresh_line(y)
            return
        row = self.model.rows[id]
        for each in looked_at:
            cell = each.column.cell(row, self._now)
            if cells.get(each.column.key) != cell:
                cells[each.column.key] = cell
                self._strips.pop(id, None)
                self.refresh(Region(GUTTER + each.x, y, each.width, 1))

    def _redraw(self) -> None:
        self._strips.clear()
        self._palette = {}
        room = max(0, self.size.width - GUTTER)
        self._placed = placed(self.model.columns, room, wide=self.wide, skipped=self._skipped)
        self.refresh()

    def on_resize(self) -> None:
        """Other columns have room."""
        self.virtual_size = Size(self.size.width, len(self.model.visible) + HEADER)
        self._redraw()

    def on_focus(self) -> None:
        """The cursor looks as it does where keys go."""
        self._redraw()

    def on_blur(self) -> None:
        """And as it does where they do not."""
        self._redraw()

    def notify_style_update(self) -> None:
        """Another theme."""
        super().notify_style_update()
        self._palette = {}
        self._strips.clear()

    def _judge(self) -> None:
        """Judges rows in slices, and lets keys be heard in between."""
        if self._judging is not None:
            self._judging.stop()
        if self.model.judge(SLICE):
            self._judging = self.set_timer(0.001, self._judge)  # `call_next` would not let the loop go round
        else:
            self._judging = None
            self._relist()
