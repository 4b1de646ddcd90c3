"""The log file: what is appended is what is read, whatever the crash, the seek or the repeat."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from gamenode_proto import logfile
from gamenode_proto.logfile import HOLE, STDERR, STDOUT, Chunk, LogReader, LogWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_an_empty_log_has_no_lines_and_the_hash_of_nothing(path: Path) -> None:
    with LogWriter(path) as log:
        assert (log.size, log.lines, log.sha256()) == (0, 0, hashlib.sha256().hexdigest())
    with LogReader(path) as reader:
        assert (reader.size, reader.lines, reader.read(0, 10), list(reader.chunks())) == (0, 0, b"", [])
        assert (reader.tail_offset(3), reader.chunk_at_time(0.0), reader.holes()) == (0, None, ())


def test_appended_chunks_are_read_back_with_their_times_streams_and_lines(path: Path) -> None:
    with LogWriter(path) as log:
        first = log.append(b"one\ntw", STDOUT, 10.0)
        second = log.append(b"o\nerr", STDERR, 11.0)
        assert (first, second) == (Chunk(10.0, 0, 6, STDOUT, 0), Chunk(11.0, 6, 5, STDERR, 1))
        assert (log.size, log.lines) == (11, 3)  # the third line is not finished and counts
        assert log.sha256() == hashlib.sha256(b"one\ntwo\nerr").hexdigest()
    with LogReader(path) as reader:
        assert list(reader.chunks()) == [first, second]
        assert list(reader.chunks(4)) == [Chunk(10.0, 4, 2, STDOUT, 1), second]
        assert list(reader.chunks(6)) == [second]
        assert list(reader.chunks(11)) == []
        assert reader.read(4, 4) == b"two\n"
        assert reader.read(11, 4) == b""


def test_a_chunk_must_have_bytes_and_a_stream(path: Path) -> None:
    with LogWriter(path) as log:
        with pytest.raises(ValueError, match="needs bytes"):
            log.append(b"", STDOUT, 1.0)
        with pytest.raises(ValueError, match="stream of 1 or 2"):
            log.append(b"x", HOLE, 1.0)
        assert log.size == 0


def test_a_reader_follows_a_growing_log(path: Path) -> None:
    with LogWriter(path) as log, LogReader(path) as reader:
        for n in range(5):
            log.append(b"%d\n" % n, STDOUT, float(n))
            assert reader.size == log.size
            assert reader.read(0, 100) == b"".join(b"%d\n" % i for i in range(n + 1))


def test_a_reopened_log_goes_on_where_it_was(path: Path) -> None:
    whole = b""
    for n in range(4):
        with LogWriter(path) as log:
            assert log.size == len(whole)
            data = b"line %d\nhalf" % n
            log.append(data, STDOUT, float(n))
            whole += data
            assert log.sha256() == hashlib.sha256(whole).hexdigest()
            assert log.lines == n + 2
    with LogReader(path) as reader:
        assert reader.read(0, 1000) == whole


@pytest.mark.parametrize("cut", range(0, 97, 7))
def test_recovery_keeps_the_longest_consistent_prefix(path: Path, cut: int) -> None:
    with LogWriter(path) as log:
        for n in range(3):
            log.append(b"abc\n", STDOUT, float(n))
    index = path.with_name("log.idx")
    index.write_bytes(index.read_bytes()[:cut])
    with LogWriter(path) as log:
        kept = cut // logfile.RECORD_SIZE
        assert (log.size, log.lines) == (4 * kept, kept)
        assert path.stat().st_size == 4 * kept
        assert index.stat().st_size == logfile.RECORD_SIZE * kept
        assert log.sha256() == hashlib.sha256(b"abc\n" * kept).hexdigest()


def test_recovery_drops_records_of_bytes_that_are_not_there(path: Path) -> None:
    with LogWriter(path) as log:
        for n in range(3):
            log.append(b"abc\n", STDOUT, float(n))
    path.write_bytes(path.read_bytes()[:6])
    with LogWriter(path) as log:
        assert log.size == 4
        log.append(b"new\n", STDERR, 9.0)
    with LogReader(path) as reader:
        assert reader.read(0, 100) == b"abc\nnew\n"


def test_a_hole_takes_no_room_and_survives_a_reopening(path: Path) -> None:
    with LogWriter(path) as log:
        log.append(b"head\n", STDOUT, 1.0)
        log.hole(5 << 32 | 7, "limit", 2.0)
        log.append(b"tail\n", STDOUT, 3.0)
        log.hole(0, "lost", 4.0)
        expected = ((5, 5 << 32 | 7, "limit"), (10, 0, "lost"))
        assert log.holes == expected
    with LogWriter(path) as log:
        assert (log.holes, log.size, log.lines) == (expected, 10, 2)
        assert log.sha256() == hashlib.sha256(b"head\ntail\n").hexdigest()
    with LogReader(path) as reader:
        assert reader.holes() == expected
        assert [c.offset for c in reader.chunks()] == [0, 5]
        assert [c.offset for c in reader.chunks(5)] == [5]
        assert reader.tail_offset(1) == 5
        found = reader.chunk_at_time(1.5)
        assert found is not None
        assert found.offset == 5


def test_a_hole_may_be_named_after_the_bytes_behind_it(path: Path) -> None:
    with LogWriter(path) as log:
        log.append(b"head\ntail\n", STDOUT, 1.0)
        log.hole(99, "limit", 2.0, offset=5)
        log.append(b"more\n", STDOUT, 3.0)
        log.hole(3, "disk_full", 4.0, offset=2)
    with LogReader(path) as reader:
        assert reader.holes() == ((5, 99, "limit"), (2, 3, "disk_full"))
        assert reader.size == 15


def test_uploads_are_taken_once_and_in_order(path: Path) -> None:
    with LogWriter(path) as log:
        assert log.append_at(0, b"abcdef", [(1.0, 2, STDOUT), (2.0, 4, STDERR)]) == 6
        assert log.append_at(0, b"abcdef", [(1.0, 2, STDOUT), (2.0, 4, STDERR)]) == 6  # a repeat
        assert log.append_at(9, b"later", [(3.0, 5, STDOUT)]) == 6  # a gap: refused
        assert log.append_at(4, b"ef\ngh\n", [(2.0, 2, STDERR), (4.0, 4, STDOUT)]) == 10  # an overlap: its end is new
        assert log.sha256() == hashlib.sha256(b"abcdef\ngh\n").hexdigest()
    with LogReader(path) as reader:
        assert reader.read(0, 100) == b"abcdef\ngh\n"
        assert [tuple(c) for c in reader.chunks()] == [
            (1.0, 0, 2, STDOUT, 0),
            (2.0, 2, 4, STDERR, 0),
            (4.0, 6, 4, STDOUT, 0),
        ]


def test_an_overlap_inside_one_record_is_cut(path: Path) -> None:
    with LogWriter(path) as log:
        log.append_at(0, b"a\nb", [(1.0, 3, STDOUT)])
        assert log.append_at(1, b"\nb\nc", [(2.0, 4, STDOUT)]) == 5
    with LogReader(path) as reader:
        assert reader.read(0, 100) == b"a\nb\nc"
        assert list(reader.chunks())[1] == Chunk(2.0, 3, 2, STDOUT, 1)


@pytest.mark.parametrize(
    "records",
    [
        [(1.0, 3, STDOUT)],
        [(1.0, 9, STDOUT)],
        [(1.0, 4, HOLE)],
        [(1.0, 0, STDOUT), (1.0, 4, STDOUT)],
        [(1.0, -4, STDOUT)],
        [],
    ],
)
def test_records_that_do_not_fit_their_bytes_are_refused(path: Path, records: list[tuple[float, int, int]]) -> None:
    with LogWriter(path) as log:
        with pytest.raises(ValueError, match=r"record"):
            log.append_at(0, b"abcd", records)
        assert (log.size, path.stat().st_size) == (0, 0)


def test_a_full_disk_leaves_the_log_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LogWriter(path) as log:
        log.append(b"good\n", STDOUT, 1.0)
        real = os.write
        budget = [3]

        def short(fd: int, data: bytes) -> int:
            if not budget[0]:
                raise OSError(28, "No space left on device")
            written = real(fd, bytes(data[: budget[0]]))
            budget[0] -= written
            return written

        monkeypatch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            log.append(b"too much\n", STDOUT, 2.0)
        monkeypatch.undo()
        assert (log.size, path.stat().st_size) == (5, 5)
        log.append(b"again\n", STDOUT, 3.0)
        assert log.sha256() == hashlib.sha256(b"good\nagain\n").hexdigest()


def test_seeks_agree_with_the_plain_file(path: Path) -> None:
    rng = random.Random(7)
    data = b"".join(b"x" * rng.randrange(12) + b"\n" for _ in range(400)) + b"unfinished"
    with LogWriter(path) as log:
        at = 0
        while at < len(data):
            size = rng.randrange(1, 40)
            log.append(data[at : at + size], rng.choice((STDOUT, STDERR)), float(at))
            at += size
            if rng.random() < 0.1:
                log.hole(rng.randrange(1000), "limit", float(at))
    lines = data.split(b"\n")
    with LogReader(path) as reader:
        assert reader.lines == len(lines)
        for n in (0, 1, 2, 77, 399, 400):
            assert reader.line_offset(n) == sum(len(line) + 1 for line in lines[:n])
        for n in (0, 1, 5, 400, 401, 10_000):
            assert reader.read(reader.tail_offset(n), len(data)) == b"\n".join(lines[max(0, len(lines) - n) :]) * (
                n > 0
            )
        for offset in (0, 1, 500, len(data) - 1):
            chunks = list(reader.chunks(offset))
            assert b"".join(reader.read(c.offset, c.length) for c in chunks) == data[offset:]
            assert all(c.first_line == data.count(b"\n", 0, c.offset) for c in chunks)
        found = reader.chunk_at_time(1000.0)
        assert found is not None
        assert found.time >= 1000.0 > found.time - 40
