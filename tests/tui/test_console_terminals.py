"""Terminals as they are: few colours, none, no UTF-8, slow, gone, written to by others; and how each is given back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from support.pseudo_terminal import Terminal, terminal
from support.waiting import until

Desk = Callable[..., AbstractAsyncContextManager[Terminal]]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Opens the console over a world of three nodes, in a terminal as described."""

    @asynccontextmanager
    async def opened(
        deed: str = "nothing", *, size: tuple[int, int] = (100, 30), flags: tuple[str, ...] = (), **env: str | None
    ) -> AsyncIterator[Terminal]:
        argv = [sys.executable, "-m", "support.desk_program", "--data-dir", str(tmp_path / "data"), *flags]
        paths = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
        async with terminal(argv, env={**paths, "DESK_DEED": deed, **env}, size=size) as tty:
            yield tty

    return opened


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "data" / "console.log").read_text()


async def begun(tmp_path: Path) -> None:
    await until(lambda: "the deed begins" in log_of(tmp_path), what="the deed")


def given_back(tty: Terminal) -> bool:
    """Every mode that was set is as it was at the beginning, and the keyboard and the lines too."""
    modes = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", tty.raw))
    wrong = {mode for mode, end in modes.items() if end != (b"h" if mode in (b"25", b"7") else b"l")}
    kitty = tty.raw.count(b"\x1b[>") <= tty.raw.count(b"\x1b[<u")
    assert not wrong, f"still set: {wrong}"
    return kitty and b"1049" in modes and tty.settings == tty.before


# -- what a terminal can show ------------------------------------------------------------------------------------------


def colours(tty: Terminal) -> set[bytes]:
    """The colours that were asked for: `38;2` and `38;5` for those of many, else the number."""
    found = set()
    for codes in re.findall(rb"\x1b\[([\d;]*)m", tty.raw):
        many = re.findall(rb"[34]8;[25]", codes)
        rest = re.sub(rb"[34]8;(2;\d+;\d+;\d+|5;\d+)", b"", codes).split(b";")
        found |= {*many, *(code for code in rest if re.fullmatch(rb"[34][0-7]|9[0-7]|10[0-7]", code))}
    return found


@pytest.mark.parametrize("term", ["linux", "xterm", "screen"])
async def test_sixteen_colours_are_the_terminals_own(desk: Desk, term: str) -> None:
    async with desk(TERM=term) as tty:
        await tty.shows("eu-2")
        assert colours(tty), "there are colours"
        assert not {code for code in colours(tty) if b";" in code}, "and none that it does not have"


async def test_no_color_has_no_colours_and_states_in_words(desk: Desk) -> None:
    async with desk(NO_COLOR="1", COLORTERM="truecolor") as tty:
        await tty.shows("eu-2")
        for word in ("online", "offline", "running"):
            await tty.shows(word)
        assert not colours(tty)
        assert re.search(rb"\x1b\[[\d;]*7[\d;]*m", tty.raw), "the cursor is reversed"


@pytest.mark.parametrize("theme", ["textual-light", "ansi-light"])
async def test_light_terminals(desk: Desk, theme: str) -> None:
    async with desk(flags=("--theme", theme), COLORTERM="truecolor") as tty:
        await tty.shows("eu-2")
        tty.type("2")
        await tty.shows("Nodes")


async def test_a_terminal_without_utf8_gets_ascii_only(desk: Desk) -> None:
    async with desk(LANG="C") as tty:
        for keys, words in (
            ("", "eu-2"),
            ("2", "Nodes"),
            ("3", "Pipelines"),
            ("4", "Runs"),
            ("Q", "Leave the console"),
        ):
            tty.type(keys)
            await tty.shows(words)
        assert tty.raw.isascii()


@pytest.mark.parametrize("term", ["dumb", None])
async def test_a_terminal_that_can_show_no_screens_is_refused_with_what_to_do(desk: Desk, term: str | None) -> None:
    async with desk(TERM=term) as tty:
        assert await tty.ends() == 2
        said = tty.raw.decode()
        assert f"TERM is {term or 'not set'}" in said
        assert "TERM=xterm-256color" in said
        assert "`gamenode`" in said
        assert b"\x1b" not in tty.raw, "nothing was drawn"


async def test_within_tmux_a_copy_goes_through_it(desk: Desk) -> None:
    async with desk("copy", TERM="tmux-256color", TMUX="/tmp/tmux-0/default,1,0") as tty:
        await tty.shows("eu-2")
        assert b"\x1b[>" not in tty.raw, "tmux does not pass on keys of that kind"
        tty.type("?")
        await tty.shows("tmux needs set-clipboard on")
        assert b"\x1bPtmux;\x1b\x1b]52;c;" in tty.raw


# -- what others write -------------------------------------------------------------------------------------------------


async def test_what_others_write_is_in_the_log_and_not_on_the_screen(desk: Desk, tmp_path: Path) -> None:
    async with desk("noise") as tty:
        await tty.shows("eu-2")
        tty.type("?")
        said = ("descriptor 1", "descriptor 2", "print", "warnings", "a process", "its errors", "the C library")
        for who in (*said, "a thread"):
            await until(lambda who=who: f"NOISE of {who}" in log_of(tmp_path), what=who)
        tty.type("2")
        await tty.shows("Nodes")
        tty.type("Q")
        await tty.shows("Leave the console")
        tty.type("\r")
        assert await tty.ends() == 0
        assert b"NOISE" not in tty.raw
        assert given_back(tty)


# -- sizes -------------------------------------------------------------------------------------------------------------


async def test_a_storm_of_sizes_ends_with_the_screen_of_the_last(desk: Desk, tmp_path: Path) -> None:
    async with desk() as tty:
        await tty.shows("eu-2")
        for turn in range(200):
            tty.resize(20 + turn * 37 % 231, 5 + turn * 17 % 76)
            tty.read()
            await until(lambda: True)
        tty.resize(120, 40)
        await tty.shows("Nodes" + "─" * 20)
        await until(lambda: "GameNode" in tty.text.splitlines()[0], what="the head line")
        await until(lambda: "trigger" in tty.text.splitlines()[-1], what="the keys in the last line")
        assert "eu-2" in tty.text
        assert "Traceback" not in log_of(tmp_path)
        assert tty.process.poll() is None


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("action", "ValueError: the [view] broke"),
        ("callback", "ValueError: the callback broke"),
        ("timer", "ValueError: the timer broke"),
        ("memory", "MemoryError"),
        ("core", "the core has ended with SystemError: the core cannot go on"),
    ],
)
async def test_a_crash_gives_the_terminal_back_and_says_in_a_line_what_it_was(
    desk: Desk, tmp_path: Path, deed: str, said: str
) -> None:
    async with desk(deed) as tty:
        await tty.shows("eu-2")
        tty.type("?")
        assert await tty.ends() == 1
        assert given_back(tty)
        after = tty.raw.rpartition(b"\x1b[?1049l")[2].decode()
        told = re.sub(r"\x1b\[[?<>\d;]*[a-z]", "", after).strip()
        assert told.splitlines() == [told], "one line"
        assert said in told
        assert str(tmp_path / "data" / "console.log") in told
        assert "Traceback" in log_of(tmp_path)


@pytest.mark.parametrize(
    ("deed", "number"), [("nothing", signal.SIGTERM), ("nothing", signal.SIGINT), ("spin", signal.SIGTERM)]
)
async def test_who_asks_politely_gets_the_terminal_back_in_time(
    desk: Desk, tmp_path: Path, deed: str, number: signal.Signals
) -> None:
    async with desk(deed) as tty:
        await tty.shows("eu-2")
        tty.type("?")
        await begun(tmp_path)
        os.kill(tty.process.pid, number)
        assert await tty.ends(seconds=8) == 0
        assert given_back(tty)


@pytest.mark.parametrize("deed", ["nothing", "deaf"])
async def test_a_terminal_that_is_gone_ends_it_without_a_word(desk: Desk, tmp_path: Path, deed: str) -> None:
    async with desk(deed) as tty:
        await tty.shows("eu-2")
        tty.type("?")
        await begun(tmp_path)
        tty.hang_up()
        assert await tty.ends(seconds=8) == 0
        assert "Traceback" not in log_of(tmp_path)


async def test_a_stop_from_outside_does_not_stop_the_server_that_lives_in_it(desk: Desk) -> None:
    async with desk() as tty:
        await tty.shows("eu-2")
        os.kill(tty.process.pid, signal.SIGTSTP)
        tty.type("2")
        await tty.shows(" Nodes 3")
        assert psutil.Process(tty.process.pid).status() != psutil.STATUS_STOPPED


# -- terminals that stop reading ---------------------------------------------------------------------------------------


async def fill(tty: Terminal) -> None:
    """Draws without anybody reading, far more than the queues on the way hold."""
    for turn in range(16):
        tty.type("14"[turn % 2])
        await asyncio.sleep(0.15)  # a person's pace: a view is drawn when the next one is not yet asked for


async def test_keys_that_are_typed_at_a_stalled_terminal_work_and_the_screen_catches_up(desk: Desk) -> None:
    async with desk(size=(200, 60)) as tty:
        await tty.shows("eu-2")
        await fill(tty)
        tty.type("2")
        await tty.shows("link slow", seconds=5)
        await until(lambda: " Nodes " in tty.text.splitlines()[0], what="the view that was asked for")


async def test_a_stalled_terminal_does_not_hold_up_the_end(desk: Desk) -> None:
    async with desk(size=(200, 60)) as tty:
        await tty.shows("eu-2")
        await fill(tty)
        os.kill(tty.process.pid, signal.SIGTERM)
        await until(lambda: tty.process.poll() is not None, seconds=8, what="the end")
        assert tty.process.returncode == 0
        tty.read()
        assert given_back(tty)
