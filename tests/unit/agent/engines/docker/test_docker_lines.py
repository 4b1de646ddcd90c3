"""Lines of a log out of what the engine sends, and where a reader goes on."""

from __future__ import annotations

import struct

import pytest

from gamenode_agent.engines.containers import LogLine
from gamenode_agent.engines.docker.lines import PART, LogParser, Resume, since
from gamenode_pipelines.errors import Code, GameNodeError

T1 = b"2026-01-01T00:00:01.000000001Z"
T2 = b"2026-01-01T00:00:02.500000000Z"
EPOCH = 1767225600


def frame(stream: int, stamp: bytes, text: bytes) -> bytes:
    data = stamp + b" " + text
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_in_pieces_of_any_size(size: int) -> None:
    sent = frame(1, T1, b"one\n") + frame(2, T1, b"bad\n") + frame(1, T1, b"two\n") + frame(1, T2, b"\n")
    parser = LogParser(tty=False)
    lines = [line for at in range(0, len(sent), size) for line in parser.feed(sent[at : at + size])]
    assert [(line.stream, line.data) for line in lines] == [(1, b"one\n"), (2, b"bad\n"), (1, b"two\n"), (1, b"\n")]
    assert [line.time for line in lines] == pytest.approx([EPOCH + 1, EPOCH + 1, EPOCH + 1, EPOCH + 2.5])
    assert len({line.mark for line in lines}) == 4
    assert parser.finish() == []


def test_marks_of_one_stream_sort_as_its_lines() -> None:
    parser = LogParser(tty=False)
    lines = parser.feed(b"".join(frame(1, T1, b"x") for _ in range(1200)) + frame(1, T2, b"y"))
    assert [line.mark for line in lines] == sorted(line.mark for line in lines)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_terminal_line_is_cut_where_the_engine_cut_it(size: int) -> None:
    long = b"x" * PART
    sent = T1 + b" short\r\n" + T1 + b" " + long + T1 + b" " + long + T1 + b" rest\r\n" + T2 + b" no end"
    parser = LogParser(tty=True)
    lines = [line for at in range(0, len(sent), size) for line in parser.feed(sent[at : at + size])]
    lines += parser.finish()
    assert [line.data for line in lines] == [b"short\r\n", long, long, b"rest\r\n", b"no end"]


def test_a_terminal_line_that_only_looks_cut_is_left_whole() -> None:
    whole = b"x" * (PART + 100) + b"\n"
    parser = LogParser(tty=True)
    assert [line.data for line in parser.feed(T1 + b" " + whole)] == [whole]


def test_what_the_engine_complains_of_is_an_error() -> None:
    complaint = b"error grabbing logs: no such file"
    with pytest.raises(GameNodeError, match="no such file") as caught:
        LogParser(tty=False).feed(struct.pack(">BxxxL", 3, len(complaint)) + complaint)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_lines_are_asked_for_from_a_second_before_the_mark() -> None:
    assert since("2026-01-01T00:00:02.500000007Z/1/000003") == f"{EPOCH + 1}.500000007"


def line(second: int, stream: int, number: int = 0) -> LogLine:
    mark = f"2026-01-01T00:00:{second:02}.000000000Z/{stream}" + (f"/{number:06d}" if number else "")
    return LogLine(mark, 0.0, stream, b"")


def behind(mark: LogLine, lines: list[LogLine]) -> list[LogLine]:
    resume = Resume(mark.mark)
    return [each for one in lines for each in resume.passing(one)] + resume.finish()


SWAPPED = [
    line(1, 1),
    line(3, 2),
    line(2, 1),
    line(4, 1),
    line(4, 2),
    line(4, 1, 1),
    line(4, 2, 1),
    line(4, 1, 2),
    line(5, 2),
]


@pytest.mark.parametrize("at", range(len(SWAPPED)))
def test_a_reader_goes_on_in_the_order_of_the_engine_though_streams_are_swapped(at: int) -> None:
    assert behind(SWAPPED[at], SWAPPED) == SWAPPED[at + 1 :]


@pytest.mark.parametrize("stream", [1, 2])
def test_where_the_marked_line_is_no_more_what_is_later_passes(stream: int) -> None:
    lines = [line(2, 1), line(4, 2), line(5, 1), line(6, 2)]
    assert behind(line(3, stream), lines) == lines[1:]
