"""The table on a screen: what it shows, what keys and the mouse do to it, and what a beat draws anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown
from textual.geometry import Region
from textual.pilot import Pilot

from gamenode_console.model.glyphs import ASCII, UTF8, Glyphs
from gamenode_console.widgets.drawn_table import GUTTER, DrawnTable
from gamenode_console.widgets.prompt import Prompt
from gamenode_console.widgets.table import Table
from support.hosts import Host, model_of

FLEET = [Host(f"node-{n:02}", cpu=float(n)) for n in range(40)]


class Desk(App[None]):
    """An app of one table that remembers what the table said."""

    def __init__(self, *hosts: Host, glyphs: Glyphs = UTF8, sort: str = "") -> None:
        super().__init__()
        self.animation_level = "none"
        self.table: Table[Host] = Table(
            model_of(sort=sort, glyphs=glyphs), empty=lambda: "No nodes yet.\nEnrol one: +", glyphs=glyphs
        )
        for host in hosts:
            self.table.model.put(host)
        self.said: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield self.table
        yield Prompt()

    def on_table_moved(self, message: DrawnTable.Moved) -> None:
        self.said.append(("moved", message.id))

    def on_table_opened(self, message: DrawnTable.Opened) -> None:
        self.said.append(("opened", message.id))


@asynccontextmanager
async def desk(
    *hosts: Host, size: tuple[int, int] = (60, 11), **given: Any
) -> AsyncIterator[tuple[Pilot[None], Table[Host]]]:
    app = Desk(*hosts, **given)
    async with app.run_test(size=size) as pilot:
        await beat(pilot, app.table, 0.0)
        yield pilot, app.table


async def beat(pilot: Pilot[None], table: Table[Host], now: float) -> None:
    table.beat(now)
    await pilot.pause()


def lines(table: Table[Host]) -> list[str]:
    return [table.render_line(y).text.rstrip() for y in range(table.size.height)]


def names(table: Table[Host]) -> list[str]:
    return [line[2:].split()[0] for line in lines(table)[1:] if line.strip()]


def colours(table: Table[Host], y: int) -> set[object]:
    return {segment.style.color for segment in table.render_line(y) if segment.style and segment.text.strip()}


# -- what is seen -----------------------------------------------------------------------------------------------------


async def test_rows_are_drawn_under_a_header_that_says_the_order() -> None:
    async with desk(Host("b", 2.0), Host("a", 1.0, "failed"), sort="name") as (_, table):
        assert lines(table)[0].split() == ["NAME▲", "STATE", "CPU", "SEEN", "LOAD"]
        assert names(table) == ["a", "b"]
        assert "failed" in lines(table)[1]


@pytest.mark.parametrize("width", [30, 60, 100, 200])
async def test_every_line_is_as_wide_as_the_table(width: int) -> None:
    async with desk(*FLEET, Host("東京" * 40, None, "needs_attention"), size=(width, 50)) as (_, table):
        assert {table.render_line(y).cell_length for y in range(table.size.height)} == {table.size.width}


async def test_an_empty_table_says_why_and_what_to_do() -> None:
    async with desk() as (pilot, table):
        assert lines(table)[2:4] == ["  No nodes yet.", "  Enrol one: +"]
        table.model.put(Host("a"))
        await beat(pilot, table, 1.0)
        table.set_filter("name=zzz")
        await pilot.pause()
        assert "0 of 1 match name=zzz" in lines(table)[2]


async def test_hostile_text_is_inert_and_no_markup() -> None:
    async with desk(Host("\x1b]0;x\x07[red]y")) as (_, table):
        assert "␛]0;x␇[re" in lines(table)[1]


async def test_signs_are_ascii_where_the_terminal_knows_no_more() -> None:
    async with desk(*FLEET, glyphs=ASCII, sort="name") as (pilot, table):
        await pilot.press("space", "v", "j", "O")
        assert "".join(lines(table)).isascii()


async def test_marks_are_a_sign_and_not_only_a_colour() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot.press("space", "j", "space")
        assert [line[:2] for line in lines(table)[1:5]] == ["● ", "  ", "● ", "  "]
        assert table.model.marks == {"node-00", "node-02"}


async def test_what_is_stale_is_grey_all_over() -> None:
    async with desk(Host("a", state="failed"), Host("b")) as (_, table):
        assert len(colours(table, 1)) > 1
        table.stale = True
        assert len(colours(table, 1)) == 1


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark", "ansi-light"])
async def test_states_and_the_cursor_are_told_apart_in_every_theme(theme: str) -> None:
    async with desk(*(Host(state, state=state) for state in ("online", "failed", "suspect", "pending"))) as (
        pilot,
        table,
    ):
        pilot.app.theme = theme
        await pilot.press("end")
        looks = set()
        for y in range(1, 4):
            (segment,) = [s for s in table.render_line(y) if s.text.strip() in ("online", "failed", "suspect")][-1:]
            looks.add(segment.style)
        assert len(looks) == 3
        assert table.render_line(4) != table.render_line(3)


# -- what stays where it is -------------------------------------------------------------------------------------------


async def test_the_cursors_row_stays_on_its_line_when_rows_come_and_go_above() -> None:
    async with desk(*FLEET, sort="name") as (pilot, table):
        for _ in range(15):
            await pilot.press("j")
        line = names(table).index("node-15")
        await beat(pilot, table, 5.0)
        for n in range(5):
            table.model.put(Host(f"aa-{n}"))
        table.model.remove("node-03")
        await beat(pilot, table, 10.0)
        assert table.model.visible[0] == "aa-0"
        assert names(table)[line] == "node-15" == table.model.cursor


async def test_what_is_read_stays_where_it_is_when_the_cursor_is_elsewhere() -> None:
    async with desk(*FLEET, sort="name") as (pilot, table):
        await pilot.press("j")
        table.scroll_to(y=20, animate=False, force=True)
        await beat(pilot, table, 5.0)
        seen = names(table)
        table.model.put(Host("aa"))
        await beat(pilot, table, 10.0)
        assert names(table) == seen
        assert table.model.cursor == "node-01"


async def test_a_row_that_goes_gives_the_cursor_to_the_next_on_the_same_line() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot.press("j", "j")
        table.model.remove("node-02")
        await beat(pilot, table, 5.0)
        assert names(table)[:3] == ["node-00", "node-01", "node-03"]
        assert pilot.app.said[-1] == ("moved", "node-03")  # type: ignore[attr-defined]


async def test_rows_do_not_change_places_within_two_seconds_of_any_key() -> None:
    async with desk(Host("a", 1.0), Host("b", 2.0), sort="cpu") as (pilot, table):
        await beat(pilot, table, 5.0)
        await pilot.press("F")  # nothing to the table, but a hand is there
        table.model.put(Host("a", 3.0))
        await beat(pilot, table, 6.0)
        await beat(pilot, table, 7.9)
        assert names(table) == ["a", "b"]
        assert "CPU▲?" in lines(table)[0]
        await beat(pilot, table, 8.1)
        assert names(table) == ["b", "a"]
        assert "CPU▲?" not in lines(table)[0]


async def test_a_frozen_table_shows_what_it_showed_and_still_answers_keys() -> None:
    async with desk(Host("a", 1.0), Host("b", 2.0)) as (pilot, table):
        table.frozen = True
        table.model.put(Host("a", 9.0))
        table.model.put(Host("c"))
        before = lines(table)
        await beat(pilot, table, 5.0)
        assert lines(table) == before
        table.set_filter("name=b")
        await pilot.pause()
        assert names(table) == ["b"]
        table.set_filter("")
        await pilot.press("o")
        assert names(table) == ["b", "a"]
        assert " 1.0 " in lines(table)[2]
        table.frozen = False
        await beat(pilot, table, 6.0)
        assert set(names(table)) == {"a", "b", "c"}


# -- what is drawn anew -----------------------------------------------------------------------------------------------


async def test_only_cells_that_changed_and_are_seen_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(*FLEET, size=(60, 21)) as (pilot, table):
        drawn: list[Any] = []
        monkeypatch.setattr(table, "refresh", lambda *regions, **_: drawn.extend(regions or ["all"]))
        table.model.put(replace(FLEET[39], cpu=5.0))
        table.beat(0.1)
        assert drawn == []  # it is not seen
        table.model.put(replace(FLEET[3], cpu=5.0))
        table.beat(0.2)
        cells = {each.column.key: Region(GUTTER + each.x, 4, each.width, 1) for each in table.shown}
        assert drawn == [cells["cpu"], cells["load"]]
        table.beat(0.3)
        assert len(drawn) == 2
        await pilot.pause()


async def test_ages_grow_without_news() -> None:
    async with desk(Host("a", seen=-5.0)) as (pilot, table):
        assert " 5s" in lines(table)[1]
        await beat(pilot, table, 3.0)
        assert " 8s" in lines(table)[1]


# -- keys and the mouse -----------------------------------------------------------------------------------------------


async def test_keys_move_page_and_open() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot.press("G")
        assert (table.model.cursor, names(table)[-1]) == ("node-39", "node-39")
        await pilot.press("g", "pagedown", "k", "enter")
        assert table.model.cursor == "node-08"
        assert pilot.app.said[-1] == ("opened", "node-08")  # type: ignore[attr-defined]
        assert table.point_at("node-30")
        assert "node-30" in names(table)
        assert not table.point_at("nobody")


async def test_the_filter_is_typed_and_taken_back() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot.press("slash", *"node-1")
        assert len(table.model.visible) == 10
        await pilot.press(*" ~(")
        assert len(table.model.visible) == 10
        await pilot.press("escape")
        assert len(table.model.visible) == 40
        assert table.has_focus


async def test_a_filter_over_many_rows_lets_keys_be_heard() -> None:
    async with desk(*(Host(f"n{n}") for n in range(10_000))) as (pilot, table):
        table.set_filter("name=n1*")
        for _ in range(3):
            await asyncio.sleep(0)
        assert table.model.judging
        while table.model.judging:
            await pilot.pause()
        assert len(table.model.visible) == 1_111


async def test_the_mouse_points_opens_and_sorts() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot.click(table, offset=(5, 4))
        assert table.model.cursor == "node-03"
        await pilot.click(table, offset=(5, 4), times=2)
        assert ("opened", "node-03") in pilot.app.said  # type: ignore[attr-defined]
        cpu = lines(table)[0].index("CPU")
        await pilot.click(table, offset=(cpu, 0))
        assert (table.model.sort_key, table.model.reverse) == ("cpu", False)
        await pilot.click(table, offset=(cpu, 0))
        assert (table.model.sort_key, table.model.reverse) == ("cpu", True)
        await pilot.click(table, offset=(3, 0))
        assert table.model.sort_key == "name"


async def test_a_click_below_the_rows_is_nothing() -> None:
    async with desk(*FLEET[:3]) as (pilot, table):
        await pilot.click(table, offset=(5, 8))
        assert (table.model.cursor, pilot.app.said) == ("node-00", [("moved", "node-00")])  # type: ignore[attr-defined]


async def test_the_wheel_scrolls_and_leaves_the_cursor() -> None:
    async with desk(*FLEET) as (pilot, table):
        await pilot._post_mouse_events([MouseScrollDown], table, offset=(5, 5))
        await pilot.pause()
        assert names(table)[0] != "node-00"
        assert table.model.cursor == "node-00"
        await pilot.press("j")
        assert names(table)[0] == "node-01" == table.model.cursor


async def test_wide_mode_scrolls_past_columns() -> None:
    async with desk(*FLEET, size=(40, 11)) as (pilot, table):
        await pilot.press("w")
        assert "ADDRESS" not in lines(table)[0]
        await pilot.press("right", "right", "right")
        assert "ADDRESS" in lines(table)[0]
        assert lines(table)[0].startswith("  NAME")
        await pilot.press("left", "left", "left", "left", "w")
        assert lines(table)[0].split() == ["NAME", "STATE", "CPU", "SEEN"]


async def test_a_row_is_copied_with_what_is_shown() -> None:
    async with desk(Host("a", 50.0)) as (_, table):
        assert table.line_text() == "a  online  50.0  0s  50.0"
