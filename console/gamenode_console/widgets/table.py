"""A table and what the keys and the mouse do to it; how it is drawn is `drawn_table`."""

from __future__ import annotations

from typing import TypeVar

from textual import events

from gamenode_console import keys
from gamenode_console.widgets.drawn_table import DrawnTable
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

    def _moved(self, *, changed: bool) -> None:
        """The cursor was moved: it is brought into sight."""
        at, top, lines = self.model.selection.position, self._top, max(1, self._lines)
        if at < top:
            self.scroll_to(y=at, animate=False, force=True, immediate=True)
        elif at >= top + lines:
            self.scroll_to(y=at - lines + 1, animate=False, force=True, immediate=True)
        self.refresh()
        if changed:
            self.post_message(self.Moved(self, self.model.cursor))

    def _move_to(self, position: int) -> None:
        self.model.touch()
        self._moved(changed=self.model.selection.move_to(position))

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
        self.beat(self._now)

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
        self.wide = not self.wide
        self._redraw()

    def action_faults(self) -> None:
        """Lists only what is not well, or all."""
        self.model.show_faulty(not self.model.only_faulty)
        self._judge()

    # -- the mouse ----------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor where it points; twice opens."""
        at = event.y - 1 + self._top
        if event.y >= 1 and at < len(self.model.visible):
            self._move_to(at)
            if event.chain == 2:
                self.action_open()
