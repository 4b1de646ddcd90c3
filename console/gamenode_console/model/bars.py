"""Bars and sparks as text. Pure; a value that is not known is shown as not known, never as zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gamenode_console.model.cells import Cell
from gamenode_console.model.glyphs import UTF8, Glyphs


def bar(fraction: float | None, width: int, *, style: str = "accent", glyphs: Glyphs = UTF8) -> list[Cell]:
    """A bar of `width` cells, filled by a fraction of 0 to 1; more is full, less is empty.

    A value above nothing shows at least its least sign, so that "a little" is told from "none".
    """
    if width <= 0:
        return []
    if fraction is None or math.isnan(fraction):
        return [Cell(glyphs.hole * width, "dim")]
    parts = len(glyphs.bar)
    filled = round(min(1.0, max(0.0, fraction)) * width * parts)
    if fraction > 0:
        filled = max(1, filled)
    whole, rest = divmod(filled, parts)
    text = glyphs.bar[-1] * whole + (glyphs.bar[rest - 1] if rest else "")
    empty = glyphs.bar_empty * (width - len(text))
    return [Cell(part, look) for part, look in ((text, style), (empty, "dim")) if part]


def meter(
    fraction: float | None, width: int, *, warn: float = 0.8, bad: float = 0.95, glyphs: Glyphs = UTF8
) -> list[Cell]:
    """A bar with its percentage behind it, in the look of how full it is: `████░░  63%`. At least 5 cells."""
    if fraction is None or math.isnan(fraction):
        return [Cell("-".rjust(width), "dim")]
    style = "bad" if fraction >= bad else "warn" if fraction >= warn else "good"
    figure = f"{round(min(9.99, max(0.0, fraction)) * 100):>4d}%"
    return [
        *bar(fraction, width - len(figure), style=style, glyphs=glyphs),
        Cell(figure, "" if style == "good" else style),
    ]


def shares(counts: Sequence[tuple[int, str]], width: int, *, glyphs: Glyphs = UTF8) -> list[Cell]:
    """A bar of several parts, each (count, style word), in proportion; what is not nothing has at least a cell."""
    total = sum(count for count, _ in counts)
    if not total or width <= 0:
        return [Cell(glyphs.bar_empty * max(0, width), "dim")]
    sizes = [max(1, int(count * width / total)) if count else 0 for count, _ in counts]
    while sum(sizes) > width and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    if sum(sizes) < width:
        sizes[max(range(len(sizes)), key=lambda i: counts[i][0])] += width - sum(sizes)
    return [Cell(glyphs.bar[-1] * size, style) for size, (_, style) in zip(sizes, counts, strict=True) if size]


def spark(
    values: Sequence[float | None],
    width: int,
    *,
    low: float = 0.0,
    high: float | None = None,
    glyphs: Glyphs = UTF8,
) -> str:
    """The last values as heights, newest at the right; `high` is the largest of them where it is not given."""
    if width <= 0:
        return ""
    last = values[-width:]
    known = [value for value in last if value is not None and not math.isnan(value)]
    top = high if high is not None else max(known, default=0.0)
    reach = top - low
    signs = []
    for value in last:
        if value is None or math.isnan(value):
            signs.append(glyphs.hole)
        else:
            part = (value - low) / reach if reach > 0 else 0.0
            signs.append(glyphs.spark[min(len(glyphs.spark) - 1, max(0, int(part * len(glyphs.spark))))])
    return "".join(signs).rjust(width)
