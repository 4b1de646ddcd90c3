"""Which rows of a list of lines fill a window, where a line may take several rows. Pure; counts and knows no text.

A place is a line and how many of its rows are above the window. Whatever is asked costs as many lines as are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

#: How many rows a line takes; at least one.
Heights = Callable[[int], int]


class Place(NamedTuple):
    """The first row of the window: a line by its index, and how many of its rows come before."""

    line: int = 0
    skip: int = 0


def moved(place: Place, by: int, count: int, heights: Heights) -> Place:
    """A place so many rows further down, or up; within the lines that there are."""
    if not count:
        return Place()
    line, skip = min(max(0, place.line), count - 1), place.skip
    skip = min(max(0, skip), heights(line) - 1) + by
    while skip < 0 and line > 0:
        line -= 1
        skip += heights(line)
    while skip > 0 and skip >= (height := heights(line)):
        if line == count - 1:
            return Place(line, height - 1)
        skip -= height
        line += 1
    return Place(line, max(0, skip))


def at_end(count: int, rows: int, heights: Heights) -> Place:
    """The place from which the last rows fill the window."""
    if not count:
        return Place()
    return moved(Place(count - 1, heights(count - 1) - 1), 1 - max(1, rows), count, heights)


def ending_with(line: int, rows: int, heights: Heights) -> Place:
    """The place from which a line's last row is the window's last; a taller line's first row is its first."""
    if (height := heights(line)) >= rows:
        return Place(line)
    return moved(Place(line, height - 1), 1 - max(1, rows), line + 1, heights)
