"""Bytes of a log's line → rows of text that a terminal can be given: inert, cut or wrapped to a width. Pure.

Widths are of terminal cells, so that a line of wide characters ends where every other line ends.
"""

from __future__ import annotations

import json
import re

from rich.cells import cell_len, chop_cells, set_cell_size

from gamenode_console import texts

#: Of a longer line this much is drawn, unless it is opened.
LONGEST = 4_000
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


def shown(data: bytes, longest: int = LONGEST) -> str:
    """A line as it is drawn: nothing in it acts on the terminal, and one that is longer says so."""
    text = texts.inert(data[:longest].decode("utf-8", "replace").removesuffix("\r").expandtabs(8).replace("\n", " ⏎ "))
    return f"{text} … {len(data) - longest:,} bytes more" if len(data) > longest else text


def cut(text: str, start: int, width: int) -> str:
    """The text from one cell on, as many as there are or fit; half of a wide character is a space."""
    if text.isascii():
        return text[start : start + width]
    if start:
        before = set_cell_size(text, start)
        half = before.endswith(" ") and not text.startswith(before)
        text = " " + text[len(before) :] if half else text[len(before) :]
    return text if cell_len(text) <= width else set_cell_size(text, width)


def wrapped(text: str, width: int) -> list[str]:
    """The text over rows of a width; at least one."""
    width = max(2, width)
    if text.isascii():
        return [text[at : at + width] for at in range(0, len(text), width)] or [""]
    return chop_cells(text, width) or [""]


def opened(data: bytes, width: int) -> list[str]:
    """All of a line over rows, an object of JSON by its parts."""
    text = data.decode("utf-8", "replace").strip()
    rows = pretty(text) if text.startswith("{") and text.endswith("}") else None
    if rows is None:
        return wrapped(shown(data, len(data)), width)
    return [part for row in rows for part in wrapped(texts.inert(row), width)]


def pretty(text: str) -> list[str] | None:
    """An object of JSON, a part a row, every value as it was written; None where it is none."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    rows, row, depth, before = [], "", 0, ""
    for token in _TOKEN.findall(text):
        closes, nothing_yet = token in ("}", "]"), before in ("{", "[")
        depth -= closes
        if (nothing_yet or before == ",") != closes:
            rows.append(row)
            row = "  " * depth
        row += ": " if token == ":" else token
        depth += token in ("{", "[")
        before = token
    return [*rows, row]
