"""Columns of live tables, and which of them a width has room for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gamenode_console.model.cells import Shown, plain

R = TypeVar("R")
#: Cells between two columns.
GAP = 1
#: No column is made narrower than this, and none is cut at the edge to less than `STUB`.
LEAST = 8
STUB = 3


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column: how a cell is made of a row and the time (Unix seconds), and what is sorted by."""

    key: str
    title: str
    width: int
    cell: Callable[[R, float], Shown]
    #: A number, a text, or a tuple of them; None stands last. Without it the table cannot be sorted by this column.
    order: Callable[[R], Any] | None = None
    right: bool = False
    #: Only shown in wide mode.
    wide: bool = False
    #: The highest goes first where it is narrow; 0 stays.
    spare: int = 0
    #: Changes by time alone.
    ages: bool = False
    #: Takes the room that is left.
    grow: bool = False
    #: What is exported and copied in place of the cell: the figure of a bar.
    value: Callable[[R, float], str] | None = None

    def text(self, row: R, now: float) -> str:
        """What the cell says, as plain text."""
        return self.value(row, now) if self.value is not None else plain(self.cell(row, now))


@dataclass(frozen=True, slots=True)
class Placed(Generic[R]):
    """A column where it is drawn."""

    column: Column[R]
    x: int
    width: int


def placed(columns: Sequence[Column[R]], width: int, *, wide: bool = False, skipped: int = 0) -> list[Placed[R]]:
    """The columns that are drawn in `width` cells.

    Usually the spare ones go where it is narrow, and then the widest shrink. In wide mode all of them are there, as
    many as fit; the first stays and `skipped` of those behind it are scrolled past.
    """
    if wide:
        chosen = [*columns[:1], *columns[1 + skipped :]]
    else:
        chosen = [column for column in columns if not column.wide]
        while _total(chosen) > width and (spare := max((c.spare for c in chosen), default=0)):
            chosen.remove([c for c in chosen if c.spare == spare][-1])
    sizes = [column.width for column in chosen]
    room = width - sum(sizes) - GAP * (len(sizes) - 1)
    if room < 0 and not wide:
        _shrink(sizes, -room)
    elif room > 0:
        _grow(sizes, [i for i, column in enumerate(chosen) if column.grow], room)
    found: list[Placed[R]] = []
    x = 0
    for column, size in zip(chosen, sizes, strict=True):
        if found and width - x < min(size, STUB):
            break
        found.append(Placed(column, x, min(size, width - x)))
        x += size + GAP
    return found


def _total(columns: Sequence[Column[R]]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _shrink(sizes: list[int], missing: int) -> None:
    for _ in range(missing):
        widest = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[widest] <= LEAST:
            return
        sizes[widest] -= 1


def _grow(sizes: list[int], growing: Sequence[int], room: int) -> None:
    for n, i in enumerate(growing):
        sizes[i] += room // len(growing) + (1 if n < room % len(growing) else 0)
