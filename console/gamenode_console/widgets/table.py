"""A table and what the keys and the mouse do to it; how it is drawn is `drawn_table`."""

from __future__ import annotations

from typing import TypeVar

from textual import events

from gamenode_console import keys
from gamenode_console.widgets.drawn_table import GUTTER, HEADER, DrawnTable
from gamenode_console.widgets.prompt import Question, ask

R = TypeVar("R")

#: What was filtered by, for the next time.
_FILTERS: list[str] = []


class Table(DrawnTable[R], can_focus=True):
    """A drawn table that is worked with: actions of the key group `table`."""

    BINDINGS = keys.bindings("table")

    def point_at(self, id: str) -> bool:
        """Puts the cursor on a row and scrolls to it; whether it is listed."""
        found = self.model.selection.point_at(id)
        if found:
            self._moved(changed=True)
        return found

    def _moved(self, *, changed: bool, before: int = -1) -> None:
        """The cursor was moved, from the place `before` where that is known: it is brought into sight."""
        at, top, lines = self.model.selection.position, self._top, max(1, self._lines)
        if at < top:
            self.scroll_to(y=at, animate=False, force=True, immediate=True)
        elif at >= top + lines:
            self.scroll_to(y=at - lines + 1, animate=False, force=True, immediate=True)
        if before < 0 or self._top != top or self.model.selection.range_start:
            self.refresh()
        else:  # a key costs two lines
            for line in {before - top, at - top}:
                self._refresh_line(line + HEADER)
        if changed:
            self.post_message(self.Moved(self, self.model.cursor))

    def _move_to(self, position: int) -> None:
        self.model.touch()
        before = self.model.selection.position
        self._moved(changed=self.model.selection.move_to(position), before=before)

    def action_cursor_up(self) -> None:
        """A row up."""
        self._move_to(self.model.selection.position - 1)

    def action_cursor_down(self) -> None:
        """A row down."""
        self._move_to(self.model.selection.position + 1)

    def action_page_up(self) -> None:
        """A page up."""
        self._move_to(self.model.selection.position - max(1, self._lines - 1))

    def action_page_down(self) -> None:
        """A page down."""
        self._move_to(self.model.selection.position + max(1, self._lines - 1))

    def action_scroll_top(self) -> None:
        """To the first row."""
        self._move_to(0)

    def action_scroll_bottom(self) -> None:
        """To the last row."""
        self._move_to(len(self.model.visible) - 1)

    def action_open(self) -> None:
        """Opens the row under the cursor."""
        if self.model.cursor:
            self.post_message(self.Opened(self, self.model.cursor))

    def action_filter(self) -> None:
        """Asks what to list; lists it while it is typed."""
        before = self.model.filter_text

        def cancelled(_text: str) -> str:
            return self.set_filter(before)

        ask(
            self,
            Question(
                "/",
                before,
                changed=self.set_filter,
                done=self.set_filter,
                cancelled=cancelled,
                history=_FILTERS,
                placeholder="words, key=value, cpu>80, !not, a|b, ~expression",
            ),
        )

    # -- marks --------------------------------------------------------------------------------------------------------

    def _marked(self) -> None:
        self.model.touch()
        self._redraw()
        self.post_message(self.Marked(self, self.model.cursor))

    def action_mark(self) -> None:
        """Marks the row, and goes down."""
        self.model.selection.toggle_mark()
        self._marked()
        self.action_cursor_down()

    def action_mark_range(self) -> None:
        """Begins a range, or marks it."""
        self.model.selection.toggle_range()
        self._marked()

    def action_mark_all(self) -> None:
        """Marks all that is listed."""
        self.model.selection.mark_all()
        self._marked()

    def action_invert_marks(self) -> None:
        """Marks the others instead."""
        self.model.selection.invert()
        self._marked()

    def action_unmark_all(self) -> None:
        """Takes every mark away."""
        self.model.selection.unmark_all()
        self._marked()

    # -- order and columns --------------------------------------------------------------------------------------------

    def _sorted(self) -> None:
        self._redraw()
        self._relist()

    def action_sort_next(self) -> None:
        """Sorts by the next column that is drawn."""
        drawn = [each.column.key for each in self.shown if each.column.order is not None]
        if drawn:
            at = drawn.index(self.model.sort_key) + 1 if self.model.sort_key in drawn else 0
            self.model.sort(drawn[at % len(drawn)])
            self._sorted()

    def action_reverse(self) -> None:
        """Turns the order round."""
        self.model.sort(self.model.sort_key, reverse=not self.model.reverse)
        self._sorted()

    def action_sort_now(self) -> None:
        """Brings the order up to date."""
        self.model.sort_now()
        self._sorted()

    def action_wide(self) -> None:
        """More columns, or fewer."""
        self.wide, self._skipped = not self.wide, 0
        self._redraw()

    def _skip(self, columns: int) -> None:
        if self.wide:
            self._skipped = min(max(0, self._skipped + columns), max(0, len(self.model.columns) - 2))
            self._redraw()

    def action_columns_left(self) -> None:
        """Back to the columns before, where not all have room in wide mode."""
        self._skip(-1)

    def action_columns_right(self) -> None:
        """On to the columns behind."""
        self._skip(1)

    def action_faults(self) -> None:
        """Lists only what is not well, or all."""
        self.model.show_faulty(not self.model.only_faulty)
        self._judge()

    # -- the hand -----------------------------------------------------------------------------------------------------

    def on_key(self) -> None:
        """Whatever the key does: for a while rows keep their places."""
        self.model.touch()

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor where it points; twice opens. On a title, sorts by it, and turns the order round."""
        if event.y < HEADER:
            self._sort_at(event.x - GUTTER)
            return
        at = event.y - HEADER + self._top
        if at < len(self.model.visible):
            self._move_to(at)
            if event.chain == 2:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        for each in self.shown:
            if each.x <= x < each.x + each.width and each.column.order is not None:
                again = each.column.key == self.model.sort_key
                self.model.sort(each.column.key, reverse=again and not self.model.reverse)
                self._sorted()
