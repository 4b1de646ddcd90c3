"""What a log pane costs beside Textual's RichLog and Log, on the same lines in the same run.

`python -m benchmarks.console_log` prints: following 50,000 lines a second, opening a million lines, going to the first
of them, and looking for a rare word, with the longest time that no key was heard meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.table import Table as Printed
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Log, RichLog

from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import BookState, LogBook
from gamenode_console.widgets.logpane import LogPane
from gamenode_console.widgets.prompt import Prompt
from support.waiting import until

LINES_PER_S = 50_000
SECONDS = 3.0
BEATS_PER_S = 10
MILLION = 1_000_000
#: Textual's own are given so many: more would take minutes.
FEWER = 100_000
SIZE = (120, 42)
#: Where the rare word is, counted from the first line.
RARE = 1_234


class _Desk(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget
        yield Prompt()


def _line(n: int) -> str:
    rare = " needle" if n == RARE else ""
    return f"{n:>9} player {n % 64:02} moved to ({n % 977}, {n % 613}) on q3dm{n % 17}{rare}"


def _chunks(count: int, size: int = 1_000) -> Iterator[bytes]:
    for start in range(0, count, size):
        yield "".join(f"{_line(n)}\n" for n in range(start, min(count, start + size))).encode()


class _Own:
    """The console's pane and its book."""

    def __init__(self) -> None:
        self.book = LogBook()
        self.book.say(BookState.FOLLOWING, 0.0)
        self.widget = LogPane(self.book)
        self._origin = Origin("eu-1", "serve", 1, 1)

    def put(self, data: bytes, _lines: list[str]) -> None:
        self.book.put(self._origin, 0.0, data)

    def beat(self) -> None:
        self.widget.beat(0.0)


class _Stock:
    """One of Textual's, given lines as it takes them."""

    def __init__(self, widget: RichLog | Log) -> None:
        self.widget = widget

    def put(self, _data: bytes, lines: list[str]) -> None:
        if isinstance(self.widget, Log):
            self.widget.write_lines(lines)
        else:
            for line in lines:
                self.widget.write(line)

    def beat(self) -> None:
        """It draws by itself."""


async def _drawn(app: App[None]) -> None:
    done = asyncio.Event()
    app.call_after_refresh(done.set)
    await done.wait()
    app.screen._compositor.render_strips()


@asynccontextmanager
async def _heard() -> AsyncIterator[list[float]]:
    """The longest time, in seconds, in which the loop heard nobody, as the only element."""
    longest = [0.0]

    async def listen() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            longest[0], last = max(longest[0], now - last), now

    async with asyncio.TaskGroup() as group:
        listening = group.create_task(listen())
        try:
            yield longest
        finally:
            listening.cancel()


async def _follow(make: Callable[[], _Own | _Stock]) -> dict[str, float]:
    """Of a core, and beats that came late, while lines come."""
    log = make()
    app = _Desk(log.widget)
    a_beat = LINES_PER_S // BEATS_PER_S
    lines = [_line(n) for n in range(a_beat)]
    data = "".join(f"{line}\n" for line in lines).encode()
    async with app.run_test(size=SIZE), _heard() as longest:
        spent, began, beats = time.process_time(), time.perf_counter(), 0
        while (now := time.perf_counter() - began) < SECONDS:
            if now < beats / BEATS_PER_S:
                await asyncio.sleep(beats / BEATS_PER_S - now)
            beats += 1
            log.put(data, lines)
            log.beat()
            await _drawn(app)
        took = time.perf_counter() - began
        return {
            "core_percent": (time.process_time() - spent) / took * 100,
            "lines_per_s": beats * a_beat / took,
            "deaf_ms": longest[0] * 1000,
        }


async def _own_million() -> dict[str, float]:
    log = _Own()
    for data in _chunks(MILLION):
        log.put(data, [])
    app = _Desk(log.widget)
    async with app.run_test(size=SIZE) as pilot, _heard() as longest:
        start = time.perf_counter()
        log.beat()
        await _drawn(app)
        opened = time.perf_counter() - start
        start = time.perf_counter()
        await pilot.press("g")
        await _drawn(app)
        top = time.perf_counter() - start
        await pilot.press("G")
        longest[0] = 0.0
        start = time.perf_counter()
        assert log.widget.search("needle") == ""
        await until(lambda: log.widget.hit == RARE, seconds=60, every=0.002, what="the rare word")
        found = time.perf_counter() - start
        return {
            "open_ms": opened * 1000,
            "top_ms": top * 1000,
            "search_ms": found * 1000,
            "deaf_ms": longest[0] * 1000,
        }


async def _stock_open(widget: RichLog | Log) -> float:
    """Milliseconds for a thousand lines until they are drawn."""
    app = _Desk(widget)
    lines = [_line(n) for n in range(FEWER)]
    async with app.run_test(size=SIZE):
        start = time.perf_counter()
        _Stock(widget).put(b"", lines)
        await _drawn(app)
        return (time.perf_counter() - start) * 1000 / (FEWER / 1000)


async def measure() -> dict[str, Any]:
    """Every figure, by who was measured."""
    return {
        "follow": {
            "pane": await _follow(_Own),
            "RichLog": await _follow(lambda: _Stock(RichLog(max_lines=200_000))),
            "Log": await _follow(lambda: _Stock(Log(max_lines=200_000))),
        },
        "million": await _own_million(),
        "open_ms_per_1000": {"RichLog": await _stock_open(RichLog()), "Log": await _stock_open(Log())},
    }


def printed(figures: dict[str, Any]) -> list[Printed]:
    """The figures as people read them."""
    follow = Printed(title=f"Following a log of {LINES_PER_S:,} lines/s")
    names = list(figures["follow"])
    for heading in ("", *names):
        follow.add_column(heading, justify="right" if heading else "left")
    for key, text in (
        ("lines_per_s", "lines/s that were taken"),
        ("core_percent", "of a core, %"),
        ("deaf_ms", "longest time without hearing a key, ms"),
    ):
        follow.add_row(text, *(f"{figures['follow'][name][key]:,.1f}" for name in names))
    own, stock = figures["million"], figures["open_ms_per_1000"]
    large = Printed(title=f"A log of {MILLION:,} lines")
    for heading in ("", "pane", *stock):
        large.add_column(heading, justify="right" if heading else "left")
    large.add_row("until it is drawn, ms", f"{own['open_ms']:.1f}", *("" for _ in stock))
    per_line = own["open_ms"] / (MILLION / 1000)
    large.add_row("the same for 1,000 lines, ms", f"{per_line:.3f}", *(f"{each:.1f}" for each in stock.values()))
    large.add_row("to the first line, ms", f"{own['top_ms']:.1f}", *("" for _ in stock))
    large.add_row("until a rare word is found, ms", f"{own['search_ms']:.0f}", *("cannot" for _ in stock))
    large.add_row("longest time without hearing a key, ms", f"{own['deaf_ms']:.0f}", *("" for _ in stock))
    return [follow, large]


if __name__ == "__main__":
    for _table in printed(asyncio.run(measure())):
        Console().print(_table)
