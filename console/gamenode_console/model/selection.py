"""What is pointed at and what is marked in a list, by id. Pure.

The cursor follows its row wherever that goes; when the row goes away, the next one that is still there gets it. Until a
hand has touched the list, the cursor is on the first row, whichever that is. Marks outlive filters and sorting.
"""

from __future__ import annotations

from collections.abc import Iterable


class Selection:
    """A cursor and marks over the ids that are listed."""

    def __init__(self) -> None:
        self.visible: list[str] = []
        self.cursor = ""
        #: Where the cursor stands in `visible`; 0 where nothing is.
        self.position = 0
        self.marks: set[str] = set()
        #: Where a range of marks began; empty: nowhere.
        self.range_start = ""
        self._touched = False

    def show(self, visible: list[str]) -> bool:
        """Takes over another list; whether the cursor is on another row now."""
        before, old, at = self.cursor, self.visible, self.position
        self.visible = visible
        if not visible:
            self.cursor, self.position = "", 0
        elif not self._touched or not before:
            self.cursor, self.position = visible[0], 0
        elif at < len(visible) and visible[at] == before:
            pass
        else:
            self._find(before, old, at)
        return self.cursor != before

    def _find(self, cursor: str, old: list[str], at: int) -> None:
        try:
            self.position = self.visible.index(cursor)
            return
        except ValueError:
            left = set(self.visible)
        heirs = [id for id in old[at + 1 :] if id in left][:1] or [id for id in reversed(old[:at]) if id in left][:1]
        self.cursor = heirs[0] if heirs else self.visible[min(at, len(self.visible) - 1)]
        self.position = self.visible.index(self.cursor)

    def touch(self) -> None:
        """A hand is at the list: from here on the cursor stays with its row."""
        self._touched = True

    def move_to(self, position: int) -> bool:
        """Puts the cursor on a line, or the nearest there is; whether it is on another row now."""
        self.touch()
        if not self.visible:
            return False
        self.position = min(max(0, position), len(self.visible) - 1)
        before, self.cursor = self.cursor, self.visible[self.position]
        return self.cursor != before

    def point_at(self, id: str) -> bool:
        """Puts the cursor on a row; whether it is listed."""
        if id not in self.visible:
            return False
        self.move_to(self.visible.index(id))
        return True

    def selected(self) -> list[str]:
        """The marked rows, the listed ones first in their order; without marks the cursor's."""
        if not self.marks:
            return [self.cursor] if self.cursor else []
        listed = [id for id in self.visible if id in self.marks]
        return listed + sorted(self.marks.difference(listed))

    def toggle_mark(self) -> None:
        """Marks the cursor's row, or takes its mark away."""
        if self.cursor:
            self.marks ^= {self.cursor}

    def toggle_range(self) -> None:
        """Begins a range at the cursor, or marks all from where it began to the cursor."""
        if not self.cursor:
            return
        if self.range_start not in self.visible:
            self.range_start = self.cursor
            return
        self.marks.update(self.visible[slice(*self._ends())])
        self.range_start = ""

    def within_range(self) -> range:
        """The lines of the range that is being marked; empty where none is."""
        if not self.range_start or self.range_start not in self.visible:
            return range(0)
        return range(*self._ends())

    def _ends(self) -> tuple[int, int]:
        start = self.visible.index(self.range_start)
        return min(start, self.position), max(start, self.position) + 1

    def mark_all(self) -> None:
        """Marks all that is listed."""
        self.marks.update(self.visible)

    def invert(self) -> None:
        """Of what is listed, marks what was not and unmarks what was; what is not listed stays."""
        self.marks.symmetric_difference_update(self.visible)

    def unmark_all(self) -> None:
        """Takes every mark away, listed or not, and forgets a range that was begun."""
        self.marks.clear()
        self.range_start = ""

    def forget(self, ids: Iterable[str]) -> None:
        """Takes the marks of rows that are no more."""
        self.marks.difference_update(ids)
