"""What a terminal is taken for, by its environment; and what is drawn for one that shows only ASCII."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gamenode_console.model.glyphs import UTF8
from gamenode_console.terminal.plain import ascii_only
from gamenode_console.terminal.profile import profile


@pytest.mark.parametrize(
    ("env", "utf8"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "en_GB.utf8"}, True),
        ({"LANG": "de_DE.UTF-8@euro"}, True),
        ({}, True),  # nobody has said anything, as in most containers
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # the second is what Python makes of the first
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, True),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "en_GB.UTF-8", "LC_CTYPE": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "de_DE"}, False),
    ],
)
def test_utf8_is_what_the_locale_says(env: dict[str, str], utf8: bool) -> None:
    assert profile(env).utf8 is utf8


@pytest.mark.parametrize(
    ("env", "theme"),
    [
        ({"TERM": "xterm-256color"}, "textual-dark"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "textual-dark"),
        ({"TERM": "xterm"}, "ansi-dark"),
        ({"TERM": "linux"}, "ansi-dark"),
        ({"TERM": "screen", "TMUX": "/tmp/tmux,1,0"}, "ansi-dark"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "ansi-dark"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "textual-dark"),
    ],
)
def test_colours_are_those_that_it_has(env: dict[str, str], theme: str) -> None:
    assert profile(env).theme == theme


def test_behind_ssh_less_is_drawn() -> None:
    here, there = profile({"TERM": "xterm"}), profile({"TERM": "xterm", "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"})
    assert there.rate < here.rate
    assert "TEXTUAL_FPS" in there.environment()
    assert "TEXTUAL_FPS" not in here.environment()


@pytest.mark.parametrize("term", ["", "dumb", "unknown"])
def test_what_places_no_cursor_is_not_able(term: str) -> None:
    assert not profile({"TERM": term}).able
    assert profile({"TERM": "vt100"}).able


@given(st.text())
def test_ascii_is_as_wide_as_what_it_stands_for(text: str) -> None:
    plain = ascii_only(text)
    assert plain.isascii()
    assert cell_len(plain) == cell_len(text)


def test_frames_and_bars_stay_what_they_look_like() -> None:
    assert ascii_only("╭─ x ─╮│▼ 日本") == "+- x -+|v ????"
    assert "?" not in ascii_only("".join(str(each) for each in (UTF8.mark, UTF8.ascending, UTF8.more, UTF8.bar)))
