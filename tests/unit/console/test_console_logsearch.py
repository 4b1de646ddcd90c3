"""Looking through a log agrees with looking at each line, however it is sliced, and while the log grows and shrinks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import LogBook
from gamenode_console.model.logsearch import Scan, Wanted, trouble
from gamenode_console.model.logview import LogView
from gamenode_pipelines.errors import GameNodeError

ORIGIN = Origin("eu-1", "serve", 1, 1)
_WORDS = st.sampled_from(["error", "Error", "map", "mapped", "q3dm17", "", "ok", "a b", "é", "error\r"])
_LINES = st.lists(st.lists(_WORDS, max_size=3).map(" ".join), max_size=60)
_QUESTIONS = st.sampled_from(
    ["error", "Error", "map", "~^map", "~map$", "~^$", "~e(rr|x)or", "~q3dm[0-9]+", "~(?i)OK", "é"]
)


def put(book: LogBook, *lines: str) -> None:
    book.put(ORIGIN, 0.0, "".join(f"{line}\n" for line in lines).encode())


def plain(book: LogBook, wanted: Wanted) -> list[int]:
    """Line by line."""
    found = []
    for seq in range(book.first, book.last + 1):
        line = book.line(seq)
        if line is not None and not line.note and wanted.matches(line.data):
            found.append(seq)
    return found


@given(st.lists(_LINES, max_size=6), _QUESTIONS, st.integers(0, 200), st.integers(2, 5_000))
def test_it_finds_what_each_line_has(parts: list[list[str]], question: str, start: int, budget: int) -> None:
    book, wanted = LogBook(), Wanted(question)
    half = len(parts) // 2
    for part in parts[:half]:
        put(book, *part)
    scan = Scan(book, (wanted,), min(start, max(0, book.last)))
    for part in parts[half:]:
        scan.look(budget)
        put(book, *part)
    while scan.look(budget):
        pass
    assert list(scan) == plain(book, wanted)


@given(st.lists(_LINES, min_size=1, max_size=12), _QUESTIONS)
def test_it_forgets_what_the_log_has_let_go(parts: list[list[str]], question: str) -> None:
    book, wanted = LogBook(memory=1_500), Wanted(question)
    scan = Scan(book, (wanted,), 0)
    for part in parts:
        put(book, *part)
        scan.look(10_000)
    while scan.look(10_000):
        pass
    assert list(scan) == plain(book, wanted)


@given(_LINES, _QUESTIONS, st.integers(-1, 60), st.booleans())
def test_the_nearest_is_the_nearest(lines: list[str], question: str, seq: int, back: bool) -> None:
    book, wanted = LogBook(), Wanted(question)
    put(book, *lines)
    scan = Scan(book, (wanted,), len(lines) // 2)
    while scan.look(100):
        pass
    hits = plain(book, wanted)
    expected = [hit for hit in hits if (hit <= seq if back else hit >= seq)]
    assert scan.nearest(seq, back=back) == ((expected[-1 if back else 0] if expected else None), True)


def test_a_line_that_grows_is_looked_at_again() -> None:
    book = LogBook()
    book.put(ORIGIN, 0.0, b"err")
    scan = Scan(book, (Wanted("error"),), 0)
    scan.look(1_000)
    assert list(scan) == []
    book.put(ORIGIN, 0.0, b"or\n")
    scan.look(1_000)
    assert list(scan) == [0]


@pytest.mark.parametrize("text", ["~(", "~[", "~(?=x)", r"~(a)\1"])
def test_an_expression_that_is_none_is_told(text: str) -> None:
    with pytest.raises(GameNodeError, match="is no regular expression"):
        Wanted(text)


def test_no_expression_takes_long() -> None:
    book = LogBook()
    put(book, *["a" * 5_000] * 20)
    began = time.process_time()
    scan = Scan(book, (Wanted("~(a+)+$b"),), 0)
    while scan.look(1 << 20):
        pass
    assert time.process_time() - began < 2.0
    assert list(scan) == []


def test_capitals_match_only_themselves() -> None:
    assert Wanted("error").matches(b"ERROR here")
    assert not Wanted("Error").matches(b"ERROR here")
    assert Wanted("a.b").matches(b"a.b")
    assert not Wanted("a.b").matches(b"axb")


@pytest.mark.parametrize("line", ["ERROR: x", "permission denied", "panic: y", "Traceback (most recent call last):"])
def test_trouble_is_known(line: str) -> None:
    assert trouble().matches(line.encode())


@pytest.mark.parametrize("line", ["0 terrors", "all is fine", "refusing nothing"])
def test_what_sounds_like_it_is_not(line: str) -> None:
    assert not trouble().matches(line.encode())


# -- the window ----------------------------------------------------------------------------------------------------


def seen(view: LogView) -> list[int]:
    return [row.line.seq for row in view.rows()]


@given(st.lists(st.integers(-30, 30), max_size=20), st.booleans())
def test_a_held_window_stands_still_whatever_comes_and_goes(moves: list[int], wrap: bool) -> None:
    book = LogBook(memory=40_000)
    put(book, *(f"{n} " + "x" * (n % 200) for n in range(200)))
    view = LogView(book)
    view.width, view.height, view.wrap = 60, 10, wrap
    view.hold()
    for by in moves:
        view.scroll(by)
        view.hold()
        before = seen(view)
        put(book, *(f"more {n}" for n in range(50)))
        view.take()
        after = seen(view)
        still_there = [seq for seq in before if seq >= book.first]
        if still_there == before:
            assert after == before
        assert not view.following
    view.follow()
    assert seen(view)[-1] == book.last


@given(st.integers(1, 30), st.integers(10, 80), st.booleans())
def test_a_window_that_follows_ends_with_the_last_line(height: int, width: int, wrap: bool) -> None:
    book = LogBook()
    view = LogView(book)
    view.width, view.height, view.wrap = width, height, wrap
    for n in range(40):
        put(book, f"{n} " + "y" * (n * 7 % 150))
        view.take()
        assert seen(view)[-1] == book.last
        assert len(view.rows()) <= height
