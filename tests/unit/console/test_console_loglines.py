"""Log pieces become lines: cut at newlines, prefixed where there are several, inert on terminals."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gamenode_console.gateway.state import SeenLogs
from gamenode_console.loglines import MAX_LINE, Ended, Line, LineCutter, Origin, Style, summary
from gamenode_proto.v1 import common_pb2, state_management_pb2
from support.control_messages import T0


def piece(
    data: bytes = b"", *, offset: int = 0, step: str = "one", node: str = "game-1", time: float = T0, attempt: int = 1
) -> state_management_pb2.LogPiece:
    ref = common_pb2.AttemptRef(task_id=f"task-{node}", fence=1, step_id=step, attempt=attempt)
    return state_management_pb2.LogPiece(ref=ref, node=node, offset=offset, data=data, time=time, stream=1)


def test_lines_are_put_together_over_pieces_with_the_time_of_their_first_byte() -> None:
    cutter = LineCutter()
    assert list(cutter.feed(piece(b"a\nb", time=1.0))) == [Line(Origin("game-1", "one", 1, 1), 1.0, b"a")]
    assert list(cutter.feed(piece(b"c", time=2.0))) == []
    (line,) = cutter.feed(piece(b"d\n", time=3.0))
    assert line == Line(Origin("game-1", "one", 1, 1), 1.0, b"bcd")
    assert list(cutter.flush()) == []


def test_logs_do_not_mix() -> None:
    cutter = LineCutter()
    assert not list(cutter.feed(piece(b"he", step="one")))
    assert not list(cutter.feed(piece(b"wor", step="two")))
    found = [*cutter.feed(piece(b"llo\n", step="one")), *cutter.flush()]
    assert [(line.origin.step, line.data, line.partial) for line in found if isinstance(line, Line)] == [
        ("one", b"hello", False),
        ("two", b"wor", True),
    ]


def test_a_hole_and_the_end_close_an_open_line() -> None:
    cutter = LineCutter()
    holed = piece(b"half")
    holed.hole.CopyFrom(common_pb2.LogHole(offset=4, length=99, reason="limit"))
    last, note = cutter.feed(holed)
    assert isinstance(last, Line)
    assert isinstance(note, Line)
    assert (last.data, note.note, note.data) == (b"half", True, b"[99 bytes are missing here: limit]")
    unknown = piece()
    unknown.hole.CopyFrom(common_pb2.LogHole(offset=4, length=0, reason="lost"))
    (note,) = cutter.feed(unknown)
    assert isinstance(note, Line)
    assert note.data == b"[bytes may be missing here: lost]"
    ended = piece()
    ended.end.CopyFrom(state_management_pb2.LogStatusEnd(complete=True, lines=1, bytes=4, sha256="aa"))
    (end,) = cutter.feed(ended)
    assert isinstance(end, Ended)
    assert summary(end) == "complete: 1 line, 4 bytes, sha256 aa"


def test_a_line_without_end_does_not_grow_for_ever() -> None:
    cutter = LineCutter()
    found = [line for _ in range(5) for line in cutter.feed(piece(b"x" * (MAX_LINE // 2)))]
    assert [isinstance(line, Line) and line.partial for line in found] == [True, True]


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_whatever_the_pieces_the_lines_are_those_of_the_whole(parts: list[bytes]) -> None:
    cutter = LineCutter()
    found = [line for part in parts for line in cutter.feed(piece(part))]
    found += list(cutter.flush())
    texts = [line.data + (b"" if line.partial else b"\n") for line in found if isinstance(line, Line)]
    assert b"".join(texts) == b"".join(parts)


def test_prefixes_name_what_there_are_several_of() -> None:
    origin = Origin("game-1", "build", 1, 1)
    line = Line(origin, T0, b"x")
    assert Style().render(line) == b"x\n"
    assert Style(steps=True).render(line) == b"build | x\n"
    assert Style(nodes=True, steps=True).render(line) == b"game-1/build | x\n"
    assert Style(timestamps=True).render(line) == b"2026-01-02T03:04:05.000Z x\n"
    again = Line(Origin("game-1", "build", 2, 1), T0, b"x")
    assert Style().render(again) == b"build#2 | x\n"
    style = Style(steps=True)
    assert style.render(line) == b"build | x\n"
    assert style.render(Line(Origin("game-1", "a", 1, 1), T0, b"y")) == b"a     | y\n"


def test_on_a_terminal_escapes_are_shown_and_bad_bytes_replaced() -> None:
    line = Line(Origin("n", "s", 1, 1), T0, b"\x1b]0;title\x07\xff\r")
    assert Style(inert=True).render(line).decode() == "␛]0;title␇\ufffd\n"
    assert Style().render(line) == b"\x1b]0;title\x07\xff\r\n"


def test_grep_keeps_holes() -> None:
    style = Style(grep=re.compile(b"err"))
    origin = Origin("n", "s", 1, 1)
    assert style.wants(Line(origin, T0, b"an error"))
    assert not style.wants(Line(origin, T0, b"fine"))
    assert style.wants(Line(origin, T0, b"[9 bytes are missing]", note=True))


def test_what_is_sent_again_is_seen_once() -> None:
    seen = SeenLogs()
    first = piece(b"hello ", offset=0)
    assert seen.is_new(first)
    again = piece(b"hello world", offset=0)
    assert seen.is_new(again)
    assert (again.offset, again.data) == (6, b"world")
    assert not seen.is_new(piece(b"hello", offset=0))
    assert seen.is_new(piece(b"hello", offset=0, step="two"))
    holed = piece()
    holed.hole.CopyFrom(common_pb2.LogHole(offset=11, length=5, reason="lost"))
    assert seen.is_new(holed)
    assert not seen.is_new(holed)
    assert seen.is_new(piece(b"!", offset=11)), "a hole takes no room"


@given(st.binary(min_size=1, max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_resent_ranges_give_each_byte_once_and_in_order(log: bytes, ranges: list[tuple[int, int]]) -> None:
    seen, got = SeenLogs(), b""
    for start, length in ranges:
        start = min(start, len(got))  # a resent log never starts beyond what was sent
        sent = piece(log[start : start + length], offset=start)
        if seen.is_new(sent):
            assert sent.offset == len(got)
            got += sent.data
    assert log.startswith(got)
