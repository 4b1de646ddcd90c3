"""The signs that pictures in text are made of, for terminals that show UTF-8 and for those that do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs; each is one cell wide."""

    #: Of a row that is marked, and of one within a range that is being marked.
    mark: str
    range: str
    #: Of a column that is sorted by: smallest first, largest first.
    ascending: str
    descending: str
    #: Stands for what was cut off.
    more: str
    #: Parts of a bar's cell from least to full, and the empty cell.
    bar: str
    bar_empty: str
    #: Heights of a spark from least to most.
    spark: str
    #: A value that is not there.
    hole: str
    #: Whether the terminal shows more than ASCII.
    utf8: bool


UTF8 = Glyphs(
    mark="●",
    range="┊",
    ascending="▲",
    descending="▼",
    more="…",
    bar="▏▎▍▌▋▊▉█",
    bar_empty="░",
    spark="▁▂▃▄▅▆▇█",
    hole="·",
    utf8=True,
)
ASCII = Glyphs(
    mark="*",
    range="|",
    ascending="^",
    descending="v",
    more="~",
    bar="#",
    bar_empty=".",
    spark="_.-=+*%#",
    hole=" ",
    utf8=False,
)
