"""Documents → table rows and lines of text. Pure: documents, columns and "now" in, lines out.

A table is a tuple of columns; a cell is made from a document and the time. Everything in a cell is inert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from gamenode_console import filters, texts
from gamenode_pipelines.errors import Code, GameNodeError

Document = Mapping[str, Any]
#: Columns between two cells.
GAP = "  "
#: Of a wider column this is enough to be told apart by.
_FAIR = 16
_WORD = re.compile(r"[a-z_]+")

#: Colour by state, for those who see it; the word is always there too.
COLOURS: Mapping[str, str] = {
    "online": "green",
    "succeeded": "green",
    "ok": "green",
    "healthy": "green",
    "stopped": "green",
    "removed": "green",
    "running": "cyan",
    "dispatched": "cyan",
    "pending": "bright_black",
    "never_connected": "bright_black",
    "skipped": "bright_black",
    "created": "bright_black",
    "exited": "bright_black",
    "suspect": "yellow",
    "warn": "yellow",
    "starting": "yellow",
    "restarting": "yellow",
    "waiting": "yellow",
    "paused": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "needs_attention": "magenta",
    "lost": "magenta",
    "offline": "red",
    "failed": "red",
    "fail": "red",
    "dead": "red",
    "killed": "red",
    "unhealthy": "red",
    "quarantined": "red",
    "revoked": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key that `--columns` and `--sort-by` use, its heading, and how a cell is made."""

    key: str
    title: str
    cell: Callable[[Document, float], str]
    #: Shown by `-o wide` only.
    wide: bool = False
    right: bool = False
    #: What is sorted by; the cell's text where None.
    order: Callable[[Document], Any] | None = None
    #: The cell is a state, and coloured by it.
    state: bool = False
    #: Left out where the terminal is too narrow for a fair part of every other column.
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one kind of document, and which of its values names it (`-o name`) and identifies it (`-q`)."""

    columns: tuple[Column, ...]
    name: str | Callable[[Document], str] = "name"
    id: str = "id"
    #: Shown on stderr when there are no rows: why, and what to do.
    empty: str = "nothing there"

    def name_of(self, document: Document) -> str:
        """What `-o name` prints: a value of the document, or made of several."""
        return str(document[self.name]) if isinstance(self.name, str) else self.name(document)


def field(
    key: str,
    title: str,
    path: str = "",
    *,
    wide: bool = False,
    right: bool = False,
    state: bool = False,
    spare: bool = False,
) -> Column:
    """A column that shows one value of the document as it is; `-` where there is none."""
    source = path or key

    def cell(document: Document, now: float) -> str:
        return text_of(filters.look_up(document, source))

    return Column(key, title, cell, wide, right, lambda document: filters.look_up(document, source), state, spare)


def since(key: str, title: str, path: str, *, wide: bool = False) -> Column:
    """A column that shows how long ago a time was; the newest sorts first."""

    def cell(document: Document, now: float) -> str:
        return texts.age(filters.look_up(document, path), now)

    def order(document: Document) -> float:
        time = filters.look_up(document, path)
        return -texts.parse_time(time) if time else float("inf")

    return Column(key, title, cell, wide, True, order)


def text_of(value: Any) -> str:
    """A value as a cell shows it: lists by commas, mappings as `k=v`, nothing as `-`."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case Mapping():
            return ",".join(f"{k}={text_of(v)}" for k, v in value.items()) or "-"
        case list() | tuple():
            return ",".join(text_of(v) for v in value) or "-"
        case _:
            return str(value)


def choose(table: Table, *, wide: bool, only: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns to show: those named, in that order, else the usual ones.

    A name that is no column is taken as a path into the document (`labels.region`), as long as it has a dot or is the
    name of a known key; else GameNodeError (invalid_argument) with the names there are.
    """
    if not only:
        return tuple(c for c in table.columns if wide or not c.wide)
    known = {c.key: c for c in table.columns}
    chosen = []
    for name in only:
        if name in known:
            chosen.append(known[name])
        elif "." in name:
            chosen.append(field(name, name.upper()))
        else:
            raise GameNodeError(
                Code.INVALID_ARGUMENT,
                f"there is no column {name!r}; use {', '.join(known)}, or a path such as labels.region",
            )
    return tuple(chosen)


def sort(documents: Sequence[Document], table: Table, by: str, *, now: float) -> list[Document]:
    """The documents in the order of one column; `-key` turns it round. Equal ones keep their order."""
    descending, key = by.startswith("-"), by.removeprefix("-")
    (column,) = choose(table, wide=True, only=[key])
    order = column.order

    def rank(document: Document) -> tuple[int, float, str]:
        value = order(document) if order is not None else column.cell(document, now)
        if value is None or value == "":
            return (2, 0.0, "")
        if isinstance(value, bool | int | float):
            return (0, float(value), "")
        return (1, 0.0, text_of(value))

    present = [d for d in documents if rank(d)[0] != 2]
    absent = [d for d in documents if rank(d)[0] == 2]
    return sorted(present, key=rank, reverse=descending) + absent


def lines(
    documents: Sequence[Document],
    columns: Sequence[Column],
    *,
    now: float,
    headers: bool = True,
    width: int | None = None,
    least: Sequence[int] = (),
    paint: Callable[[str, str], str] | None = None,
) -> list[str]:
    """The table's lines.

    `width` cuts them to a terminal; `least` are widths that columns have at least, so that what is printed in parts
    lines up; `paint(text, colour)` colours states and headings.
    """
    rows = [[texts.one_line(c.cell(document, now)) for c in columns] for document in documents]
    sizes = [cell_len(c.title) if headers else 0 for c in columns]
    for row in rows:
        for i, text in enumerate(row):
            sizes[i] = max(sizes[i], cell_len(text))
    for i, size in enumerate(least[: len(sizes)]):
        sizes[i] = max(sizes[i], size)
    if width is not None:
        kept = _without_spare(columns, sizes, width)
        columns, sizes = [columns[i] for i in kept], [sizes[i] for i in kept]
        rows = [[row[i] for i in kept] for row in rows]
        _fit(sizes, width - len(GAP) * (len(columns) - 1))
        while len(sizes) > 1 and sum(sizes) + len(GAP) * (len(sizes) - 1) > width:
            sizes.pop()  # what does not fit at all is for a wider terminal, `-o wide` or `--columns`
        columns = columns[: len(sizes)]
        rows = [row[: len(sizes)] for row in rows]
    out = []
    if headers:
        titles = [_pad(c.title, sizes[i], right=c.right) for i, c in enumerate(columns)]
        out.append(GAP.join(paint(t, "bold") if paint else t for t in titles).rstrip())
    for row in rows:
        cells = []
        for i, (column, text) in enumerate(zip(columns, row, strict=True)):
            padded = _pad(text, sizes[i], right=column.right)
            colour = _colour(text) if column.state and paint else None
            cells.append(paint(padded, colour) if paint and colour else padded)
        out.append(GAP.join(cells).rstrip())
    return out


def _colour(text: str) -> str | None:
    """The colour of a state; of `running (unhealthy)` that of the last word that has one."""
    found = [COLOURS[word] for word in _WORD.findall(text) if word in COLOURS]
    return found[-1] if found else None


def _pad(text: str, size: int, *, right: bool) -> str:
    length = cell_len(text)
    if length > size:
        return set_cell_size(text, max(0, size - 1)) + "…" if size else ""
    return " " * (size - length) + text if right else text + " " * (size - length)


def _without_spare(columns: Sequence[Column], sizes: Sequence[int], width: int) -> list[int]:
    """The columns to show: the last of the spare ones goes first, until `_FAIR` of every other one fits."""
    kept = list(range(len(columns)))
    for i in reversed(range(len(columns))):
        if sum(min(sizes[j], _FAIR) for j in kept) + len(GAP) * (len(kept) - 1) <= width:
            break
        if columns[i].spare:
            kept.remove(i)
    return kept


def _fit(sizes: list[int], room: int) -> None:
    """Shrinks the widest columns, none below 8, until the row fits or nothing gives."""
    while sum(sizes) > room:
        widest = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[widest] <= 8:
            return
        others = sorted(sizes)[-2] if len(sizes) > 1 else 8
        sizes[widest] = max(8, min(sizes[widest] - 1, max(others, sizes[widest] - (sum(sizes) - room))))


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """`Key:  value` lines, aligned; for `show` commands."""
    size = max((cell_len(key) for key, _ in pairs), default=0) + 1
    return [f"{key}:".ljust(size) + f"  {texts.one_line(value)}" for key, value in pairs]
