"""Reads a log file: bytes, times, lines and holes, beside its writer."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from gamenode_proto.logfile.records import (
    BLOCK,
    HOLE,
    HOLE_REASONS,
    INDEX_SUFFIX,
    RECORD,
    RECORD_SIZE,
    Chunk,
    Hole,
    Path,
)


class LogReader:
    """Reads a log, also while it grows: every call sees what has been recorded by then. Raises FileNotFoundError."""

    __slots__ = ("_data", "_index", "path")

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        self._data = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._index = os.open(self.path + INDEX_SUFFIX, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(self._data)
            raise

    @property
    def size(self) -> int:
        """Bytes in the log."""
        return self.end(self._count())

    @property
    def lines(self) -> int:
        """Lines in the log; an unfinished last one counts."""
        newlines, open_line = self.newlines(self._count())
        return newlines + open_line

    def read(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset`; empty at the end."""
        limit = min(limit, self.size - offset)
        return os.pread(self._data, limit, offset) if limit > 0 and offset >= 0 else b""

    def chunks(self, from_offset: int = 0) -> Iterator[Chunk]:
        """The reads from `from_offset` on, in order, without holes; the first one is cut to begin there."""
        count = self._data_count()
        position = max(0, bisect_right(range(count), from_offset, key=lambda i: self._record(i).offset) - 1)
        while position < count:
            block = os.pread(self._index, min(count - position, 2048) * RECORD_SIZE, position * RECORD_SIZE)
            whole = len(block) // RECORD_SIZE
            if not whole:
                return
            for fields in RECORD.iter_unpack(block[: whole * RECORD_SIZE]):
                chunk = Chunk._make(fields)
                if chunk.stream & 0xFF == HOLE or chunk.end <= from_offset:
                    continue
                if chunk.offset < from_offset:
                    skipped = from_offset - chunk.offset
                    line = chunk.first_line + self._newlines_in(chunk.offset, skipped)
                    chunk = Chunk(chunk.time, from_offset, chunk.length - skipped, chunk.stream, line)
                yield chunk
            position += whole

    def chunk_at_time(self, time: float) -> Chunk | None:
        """The first read at `time` or later."""
        count = self._data_count()
        position = bisect_left(range(count), time, key=lambda i: self._record(i).time)
        while position < count:
            chunk = self._record(position)
            if chunk.stream & 0xFF != HOLE:
                return chunk
            position += 1
        return None

    def line_offset(self, line: int) -> int:
        """Where line number `line` (from 0) begins; the log's size if it has fewer."""
        if line <= 0:
            return 0
        count = self._data_count()
        # The newline that ends the line before it is in the last chunk that begins on an earlier line.
        position = bisect_left(range(count), line, key=lambda i: self._record(i).first_line) - 1
        if position < 0:
            return self.end(count)
        chunk = self._record(position)
        data = b"" if chunk.stream & 0xFF == HOLE else os.pread(self._data, chunk.length, chunk.offset)
        at = -1
        for _ in range(line - chunk.first_line):
            at = data.find(b"\n", at + 1)
            if at < 0:
                return self.end(count)
        return chunk.offset + at + 1

    def tail_offset(self, lines: int) -> int:
        """Where the last `lines` lines begin."""
        return self.line_offset(self.lines - lines) if lines > 0 else self.size

    def holes(self, count: int | None = None) -> tuple[Hole, ...]:
        """What is missing, of the first `count` records (default all)."""
        end = (self._count() if count is None else count) * RECORD_SIZE
        found: list[Hole] = []
        position = 0
        while position < end:
            block = os.pread(self._index, min(end - position, 2048 * RECORD_SIZE), position)
            if len(block) < RECORD_SIZE:
                break
            block = block[: len(block) // RECORD_SIZE * RECORD_SIZE]
            for _, offset, length, stream, _ in RECORD.iter_unpack(block):
                if stream & 0xFF == HOLE:
                    reason = HOLE_REASONS[min(max((stream >> 8 & 0xFF) - 1, 0), len(HOLE_REASONS) - 1)]
                    found.append(Hole(offset, length | (stream >> 16) << 32, reason))
            position += len(block)
        return tuple(found)

    def end(self, count: int) -> int:
        """The log's size as the first `count` records have it."""
        count = self._data_count(count)
        return self._record(count - 1).end if count else 0

    def newlines(self, count: int) -> tuple[int, bool]:
        """How many newlines the first `count` records cover, and whether an unfinished line follows them."""
        count = self._data_count(count)
        if not count:
            return 0, False
        last = self._record(count - 1)
        newlines = last.first_line + self._newlines_in(last.offset, last.length)
        return newlines, os.pread(self._data, 1, last.end - 1) != b"\n"

    def close(self) -> None:
        """Closes the files; further calls have no effect."""
        if self._data >= 0:
            os.close(self._data)
            os.close(self._index)
            self._data = self._index = -1

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _count(self) -> int:
        return os.fstat(self._index).st_size // RECORD_SIZE

    def _data_count(self, count: int | None = None) -> int:
        # Holes that were recorded after the last byte may be out of order: they are not part of the search.
        count = self._count() if count is None else count
        while count and self._record(count - 1).stream & 0xFF == HOLE:
            count -= 1
        return count

    def _record(self, position: int) -> Chunk:
        return Chunk._make(RECORD.unpack(os.pread(self._index, RECORD_SIZE, position * RECORD_SIZE)))

    def _newlines_in(self, offset: int, length: int) -> int:
        newlines = 0
        end = offset + length
        while offset < end:
            block = os.pread(self._data, min(BLOCK, end - offset), offset)
            if not block:
                break
            newlines += block.count(b"\n")
            offset += len(block)
        return newlines
