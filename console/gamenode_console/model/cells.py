"""What a cell of a table shows: text with words for how it looks, cut and padded to the column. Pure.

A style word is a state (`online`, `failed`), or one of `good`, `warn`, `bad`, `alert`, `accent` and `dim`. What a word
looks like is the theme's affair (`widgets/styles.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size

from gamenode_console.texts import one_line


class Cell(NamedTuple):
    """Text in one look."""

    text: str
    style: str = ""


#: What a column makes of a row: plain text, text in one look, or several pieces side by side.
Shown: TypeAlias = str | Cell | Sequence[Cell]


def state(word: str, text: str = "") -> Cell:
    """A state in its own look: `state("needs_attention")` reads `needs attention`."""
    return Cell(text or word.replace("_", " "), word)


def pieces(shown: Shown) -> Sequence[Cell]:
    """The pieces, however many there are."""
    if isinstance(shown, str):
        return (Cell(shown),)
    if isinstance(shown, Cell):
        return (shown,)
    return shown


def plain(shown: Shown) -> str:
    """The text alone, on one line and inert."""
    if isinstance(shown, str):
        return _inert(shown)
    return _inert("".join(piece.text for piece in pieces(shown)))


def fitted(shown: Shown, width: int, *, right: bool = False, more: str = "…") -> list[Cell]:
    """The pieces, inert, exactly `width` cells wide; `more` stands for what was cut."""
    if width <= 0:
        return []
    if isinstance(shown, str) and shown.isascii() and shown.isprintable() and len(shown) <= width:
        return [Cell(shown.rjust(width) if right else shown.ljust(width))]  # nearly every cell
    given = [Cell(_inert(text), style) for text, style in pieces(shown) if text]
    sizes = [cell_len(piece.text) for piece in given]
    missing = width - sum(sizes)
    if missing < 0:
        return _cut(given, sizes, width, more)
    if missing:
        given.insert(0 if right else len(given), Cell(" " * missing))
    return given


def _cut(given: list[Cell], sizes: list[int], width: int, more: str) -> list[Cell]:
    kept: list[Cell] = []
    room = width - 1
    for (text, style), size in zip(given, sizes, strict=True):
        if size > room:
            kept.append(Cell(set_cell_size(text, room) + more, style))
            break
        kept.append(Cell(text, style))
        room -= size
    return kept


def _inert(text: str) -> str:
    return text if text.isascii() and text.isprintable() else one_line(text)
