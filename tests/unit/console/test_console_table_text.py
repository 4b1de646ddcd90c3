"""What tables are drawn with: cells, bars, sparks, which columns there is room for, and exports."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gamenode_console.model.bars import bar, meter, shares, spark
from gamenode_console.model.cells import Cell, Shown, fitted, plain, state
from gamenode_console.model.columns import GAP, Column, placed
from gamenode_console.model.export import as_csv, as_json
from gamenode_console.model.glyphs import ASCII, UTF8, Glyphs
from gamenode_console.texts import ACTIVE
from support.hosts import Host, columns

BOTH = pytest.mark.parametrize("glyphs", [UTF8, ASCII], ids=["utf8", "ascii"])


def text_of(cells: list[Cell]) -> str:
    return "".join(cell.text for cell in cells)


# -- cells ------------------------------------------------------------------------------------------------------------


def test_text_is_padded_to_its_column() -> None:
    assert fitted("ab", 4) == [Cell("ab  ")]
    assert fitted("ab", 4, right=True) == [Cell("  ab")]
    assert fitted([Cell("a", "good"), Cell("b", "bad")], 4) == [Cell("a", "good"), Cell("b", "bad"), Cell("  ")]
    assert fitted("ab", 0) == []


def test_what_does_not_fit_is_cut_and_said_to_be() -> None:
    assert text_of(fitted("abcdef", 4)) == "abc…"
    assert fitted([Cell("abc", "good"), Cell("def", "bad")], 5, more="~") == [Cell("abc", "good"), Cell("d~", "bad")]
    assert text_of(fitted("東京都", 4)) == "東 …"


def test_foreign_text_is_inert_and_never_markup() -> None:
    assert text_of(fitted("\x1b[31mred\n[bold]x", 30)).strip() == "␛[31mred ⏎ [bold]x"
    assert plain([Cell("a\x07"), Cell("b\u202e")]) == "a␇b<202E>"


def test_a_state_reads_as_words_in_its_own_look() -> None:
    assert state("needs_attention") == Cell("needs attention", "needs_attention")
    assert state("online", "up") == Cell("up", "online")


PIECES = st.lists(st.builds(Cell, st.text(max_size=8), st.sampled_from(["", "bad"])), max_size=4)


@given(st.one_of(st.text(max_size=20), PIECES), st.integers(1, 30), st.booleans())
def test_a_cell_is_exactly_as_wide_as_its_column(shown: Shown, width: int, right: bool) -> None:
    text = text_of(fitted(shown, width, right=right))
    assert cell_len(text) == width
    assert not ACTIVE.search(text)
    assert "\n" not in text


# -- bars and sparks --------------------------------------------------------------------------------------------------


@BOTH
@given(fraction=st.floats(allow_nan=True, allow_infinity=True), width=st.integers(5, 20))
def test_a_bar_has_its_width_whatever_it_shows(glyphs: Glyphs, fraction: float, width: int) -> None:
    for cells in (bar(fraction, width, glyphs=glyphs), meter(fraction, width, glyphs=glyphs)):
        assert cell_len(text_of(cells)) == width
        assert glyphs.utf8 or text_of(cells).isascii()


def test_bars_grow_with_what_they_show() -> None:
    assert [text_of(bar(part / 8, 1)) for part in range(9)] == ["░", *UTF8.bar]
    assert text_of(bar(0.5, 4, glyphs=ASCII)) == "##.."
    assert text_of(bar(0.0001, 4)) == "▏░░░"  # a little is not nothing
    assert bar(None, 3) == [Cell("···", "dim")]


@pytest.mark.parametrize(
    ("fraction", "text", "look"),
    [
        (0.5, "███░░░  50%", ""),
        (0.8, "████▊░  80%", "warn"),
        (1.0, "██████ 100%", "bad"),
        (-1.0, "░░░░░░   0%", ""),
        (99.0, "██████ 999%", "bad"),
    ],
)
def test_a_meter_says_its_figure_and_how_bad_it_is(fraction: float, text: str, look: str) -> None:
    cells = meter(fraction, 11)
    assert (text_of(cells), cells[-1].style) == (text, look)


def test_shares_are_in_proportion_and_none_is_lost() -> None:
    assert shares([(5, "good"), (5, "bad")], 10) == [Cell("█" * 5, "good"), Cell("█" * 5, "bad")]
    assert shares([(999, "good"), (0, "warn"), (1, "bad")], 10) == [Cell("█" * 9, "good"), Cell("█", "bad")]
    assert text_of(shares([(0, "good")], 4)) == "░░░░"


@BOTH
def test_a_spark_shows_the_newest_at_the_right(glyphs: Glyphs) -> None:
    assert spark([9.0, 0.0, 8.0], 2, glyphs=glyphs) == glyphs.spark[0] + glyphs.spark[-1]
    assert spark([0.0, None, math.nan, 4.0], 6, high=8.0, glyphs=glyphs) == (
        "  " + glyphs.spark[0] + glyphs.hole * 2 + glyphs.spark[4]
    )
    assert spark([], 3, glyphs=glyphs) == "   "
    assert spark([0.0, 0.0], 2, glyphs=glyphs) == glyphs.spark[0] * 2


# -- columns ----------------------------------------------------------------------------------------------------------


def keys_in(width: int, *, wide: bool = False, skipped: int = 0) -> list[str]:
    return [each.column.key for each in placed(columns(), width, wide=wide, skipped=skipped)]


def test_columns_go_by_rank_where_it_is_narrow() -> None:
    assert keys_in(80) == ["name", "state", "cpu", "seen", "load"]
    assert keys_in(40) == ["name", "state", "cpu", "seen"]
    assert keys_in(28) == ["name", "state", "cpu"]
    assert keys_in(10) == ["name"]


def test_wide_mode_has_all_columns_and_scrolls_past_those_behind_the_first() -> None:
    assert keys_in(120, wide=True) == ["name", "state", "cpu", "seen", "load", "address"]
    assert keys_in(40, wide=True) == ["name", "state", "cpu", "seen", "load"]
    assert keys_in(40, wide=True, skipped=4) == ["name", "address"]


@given(st.integers(1, 200), st.booleans(), st.integers(0, 5))
def test_columns_never_overlap_and_never_leave_the_screen(width: int, wide: bool, skipped: int) -> None:
    found = placed(columns(), width, wide=wide, skipped=skipped)
    for one, other in itertools.pairwise(found):
        assert one.x + one.width + GAP == other.x
    assert all(each.width > 0 and each.x + each.width <= width for each in found)


def test_room_that_is_left_goes_to_columns_that_grow() -> None:
    assert [each.width for each in placed(columns(), 80)] == [46, 9, 5, 6, 10]


# -- export -----------------------------------------------------------------------------------------------------------


def test_an_export_has_what_is_shown_and_figures_for_bars() -> None:
    shown = [each.column for each in placed(columns(), 60)]
    text = as_csv(shown, [Host("a,b", 50.0, "needs_attention", 10.0)], 25.0)
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "state", "cpu", "seen", "load"],
        ["a,b", "needs attention", "50.0", "15s", "50.0"],
    ]
    (row,) = json.loads(as_json(shown, [Host("é\n", None)], 25.0))
    assert row == {"name": "é ⏎", "state": "online", "cpu": "None", "seen": "25s", "load": "None"}
    assert json.loads(as_json(shown, [], 0.0)) == []


@pytest.mark.parametrize("name", ["=cmd|x", "+1-2", "@SUM(A1)", "-x"])
def test_a_name_is_no_formula_for_a_spreadsheet(name: str) -> None:
    column: Column[str] = Column("name", "NAME", 8, lambda row, now: row)
    _, (cell,) = csv.reader(io.StringIO(as_csv([column], [name], 0.0)))
    assert cell == "'" + name


def test_figures_stay_figures() -> None:
    column: Column[str] = Column("n", "N", 8, lambda row, now: row)
    assert [row for (row,) in csv.reader(io.StringIO(as_csv([column], ["-5", "-", "+2.5"], 0.0)))] == [
        "n",
        "-5",
        "-",
        "+2.5",
    ]
