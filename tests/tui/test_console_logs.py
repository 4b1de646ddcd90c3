"""The log view, by keys: what is read is held, what is looked for is found, no line acts on the screen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_console.app import ConsoleApp
from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import BookState, LogBook
from gamenode_console.screens.logs import Logs
from gamenode_console.widgets.logpane import LogPane
from support import screenshots
from support.desk import NOW, console
from support.waiting import until

EU, US = Origin("eu-1", "serve", 1, 1), Origin("us-1", "serve", 1, 1)


class Hands:
    """A log view that is open, and hands at its keys."""

    def __init__(self, app: ConsoleApp, pilot: object) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def pane(self) -> LogPane:
        return self.app.screen.query_one(LogPane)

    @property
    def book(self) -> LogBook:
        return self.pane.book

    @property
    def text(self) -> str:
        return screenshots.text(self.app)

    @property
    def log(self) -> list[str]:
        """The rows of the pane."""
        pane = self.pane
        lines = self.text.splitlines()[pane.region.y : pane.region.bottom]
        return [line[: pane.region.width - 1].rstrip() for line in lines]  # without the scroll bar

    async def settle(self) -> None:
        for _ in range(2):
            self.app.beat()
            await self.pilot.pause()  # type: ignore[attr-defined]

    async def put(self, *lines: str | bytes, origin: Origin = EU) -> None:
        data = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        self.book.put(origin, NOW, data)
        await self.settle()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)  # type: ignore[attr-defined]
        await self.settle()

    async def shows(self, text: str) -> None:
        async def look() -> bool:
            await self.settle()
            return text in self.text

        await until(look, what=text)


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    app = console(tmp_path)
    async with app.run_test(size=(80, 20)) as pilot:
        found = Hands(app, pilot)
        await until(lambda: app.shown_view is not None and app.shown_view.ready)
        app.operations.open_log("aaaaaaaaaaaa")

        async def there() -> bool:
            await pilot.pause()
            return isinstance(app.screen, Logs) and app.screen.ready

        await until(there, what="the log")
        found.book.say(BookState.FOLLOWING, NOW)
        yield found


async def test_what_is_read_is_held_while_lines_come_and_followed_again_at_the_end(hands: Hands) -> None:
    await hands.put(*(f"line {n}" for n in range(100)))
    assert hands.log[-1] == "line 99"
    await hands.press("pageup")
    held = hands.log
    await hands.put(*(f"line {n}" for n in range(100, 5_000)))
    assert hands.log == held
    assert "held, 4,9" in hands.text
    await hands.press("G")
    assert hands.log[-1] == "line 4999"
    await hands.put("one more")
    assert hands.log[-1] == "one more"


async def test_a_search_keeps_what_is_around_and_goes_from_hit_to_hit(hands: Hands) -> None:
    await hands.put(*(f"line {n}" + (" odd" if n % 50 == 7 else "") for n in range(300)))
    await hands.press("slash", *"ODD", "enter")
    await hands.shows("/ODD: 0 hits")
    await hands.press("slash", *["backspace"] * 3, *"odd", "enter")
    await hands.shows("/odd: 6 hits")
    assert hands.pane.hit == 257
    assert "line 256" in hands.text
    await hands.press("N")
    assert hands.pane.hit == 207
    await hands.press("n", "n")
    assert hands.pane.hit == 257
    await hands.shows("no line below has it")
    await hands.press("escape")
    assert "/odd" not in hands.text


async def test_a_filter_shows_only_lines_that_match_also_those_that_come(hands: Hands) -> None:
    await hands.put(*(f"line {n}" for n in range(300)))
    await hands.press("ampersand", *"~9$", "enter")
    await hands.shows("&~9$: 30")
    assert hands.log[-1] == "line 299"
    await hands.put("line 300", "line 309")
    await hands.shows("&~9$: 31")
    await hands.shows("line 309")
    await hands.press("escape")
    await hands.shows("line 300")


async def test_a_wrong_expression_is_told_where_it_is_typed(hands: Hands) -> None:
    await hands.put("a line")
    await hands.press("slash", *"~(", "enter")
    assert "is no regular expression" in hands.text


async def test_e_goes_to_what_looks_like_trouble(hands: Hands) -> None:
    await hands.put(*(f"ERROR {n}" if n in (20, 150) else f"line {n}" for n in range(300)))
    await hands.press("g", "e")
    assert hands.pane.hit == 20
    await hands.press("e")
    assert hands.pane.hit == 150
    await hands.press("E")
    assert hands.pane.hit == 20


async def test_long_lines_are_cut_panned_wrapped_and_opened(hands: Hands) -> None:
    document = {"level": "warn", "players": [{"name": "ana"}], "text": "x" * 100}
    await hands.put("0123456789" * 20, json.dumps(document))
    assert hands.log[0] == "0123456789" * 7 + "012345678"
    await hands.press("right")
    assert hands.log[0].startswith("0123456789")
    await hands.press("left", "w")
    assert "0123456789" * 7 + "0123456789"[:9] == hands.log[0]
    assert hands.log[2].startswith("0123456789")
    await hands.press("w", "G", "enter")
    assert '"level": "warn",' in [row.strip() for row in hands.log], "JSON by its parts"
    await hands.press("escape")
    assert '"level": "warn",' not in [row.strip() for row in hands.log]


@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[31mred\x1b[0m",
        b"\x1b]52;c;aGk=\x07",
        b"\x1b]0;title\x07\x1bPq\x1b\\",
        b"a\rb\x08c\x07\x00",
        b"\xff\xfe invalid \xc3(",
        "‮ turned round".encode(),
        "日本語 wide".encode(),
        b"tab\there",
        b"[bold]markup[/bold]",
    ],
)
async def test_nothing_in_a_line_acts_on_the_screen(hands: Hands, data: bytes) -> None:
    await hands.put("before", data, "after")
    assert (hands.log[0], hands.log[2]) == ("before", "after")
    assert not any(ord(letter) < 32 or letter in "\x7f\x9b‮" for letter in hands.log[1])
    strips = hands.app.screen._compositor.render_strips()
    assert {strip.cell_length for strip in strips} == {80}, "every row is as wide as the screen"


async def test_lines_of_several_nodes_say_which_and_gaps_are_told(hands: Hands) -> None:
    await hands.put("from eu")
    await hands.put("from us", origin=US)
    hands.book.note(US, NOW, "[120 lines were dropped on the node]", "bad")
    await hands.settle()
    assert [line.split() for line in hands.log[:3]] == [
        ["eu-1", "│", "from", "eu"],
        ["us-1", "│", "from", "us"],
        ["us-1", "│", "[120", "lines", "were", "dropped", "on", "the", "node]"],
    ]


async def test_what_is_listed_is_written_to_a_file_and_a_line_is_copied(hands: Hands, tmp_path: Path) -> None:
    await hands.put("one", "two", "three")
    await hands.press("ampersand", *"~^t", "enter")
    await hands.shows("&~^t: 2")
    await hands.press("colon", *f"export {tmp_path}/log.txt", "enter")
    assert (tmp_path / "log.txt").read_text() == "two\nthree\n"


async def test_the_beginning_that_was_not_loaded_is_asked_for_twice(hands: Hands) -> None:
    hands.book.lacks(4096)
    await hands.put(*(f"line {n}" for n in range(100)))
    assert "before them not loaded: g, and again" in hands.text
    book = hands.book
    await hands.press("g")
    assert hands.book is book
    await hands.press("g")
    await until(lambda: hands.book is not book, what="the log to be read anew")
