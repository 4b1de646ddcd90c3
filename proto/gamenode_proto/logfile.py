"""The log of one attempt on disk: raw bytes as they were read, and beside them one small record a read.

`PATH` holds the bytes, `PATH.idx` records of 32 bytes: when, where, how much, which stream, which line. That is enough
for timestamps, `--since`, line seeks and resuming at a byte, without any work per line. Bytes are written before their
record, so a record never points at what is not there.

What could not be kept is a *hole*: a record of stream 0 that says how many bytes are missing at its offset, and why. It
takes no room in the raw file: offsets are the raw file's, and the SHA-256 is over the bytes that are there.

Knows no network and no process, and imports nothing outside the standard library: the supervisor and the server share
it. One writer at a time; any number of readers beside it.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

STDOUT = 1
STDERR = 2
#: The stream of a record that stands for bytes that are missing.
HOLE = 0

INDEX_SUFFIX = ".idx"
#: Why bytes are missing. `lost`: the writer died, and the length is unknown (0).
HOLE_REASONS = ("limit", "disk_full", "lost")

_RECORD = struct.Struct("<dQIIQ")  # time, offset, length, stream, first line
RECORD_SIZE = _RECORD.size
_MAX_LENGTH = 0xFFFF_FFFF
_BLOCK = 1 << 20

Path = str | os.PathLike[str]


class Chunk(NamedTuple):
    """One read. `time` is Unix seconds; `first_line` is the number (from 0) of the line its first byte belongs to."""

    time: float
    offset: int
    length: int
    stream: int
    first_line: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.length


class Hole(NamedTuple):
    """`length` bytes are missing in front of `offset`, for `reason`."""

    offset: int
    length: int
    reason: str


class Digest(Protocol):
    """A running SHA-256."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes."""
        ...

    def hexdigest(self) -> str:
        """The hash so far."""
        ...


class LogWriter:
    """Appends to a log, new or old. What a crash left unfinished is cut off when it is opened again.

    `append` and `append_at` raise OSError (a full disk) with the log unchanged. Nothing is synced but by `sync`.
    `digest` makes the hash (default: OpenSSL's, which costs a process 4 MB when it is the first to want it).
    """

    __slots__ = (
        "_data",
        "_hash",
        "_hashed",
        "_holes",
        "_index",
        "_index_size",
        "_newlines",
        "_open_line",
        "path",
        "size",
    )

    def __init__(self, path: Path, *, digest: Callable[[], Digest] | None = None) -> None:
        self.path = os.fspath(path)
        #: Bytes in the log.
        self.size = 0
        self._newlines = 0
        self._open_line = False
        self._hash = digest() if digest is not None else _openssl_sha256()
        self._hashed = 0
        self._holes: list[Hole] = []
        self._data = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            self._index = os.open(self.path + INDEX_SUFFIX, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except BaseException:
            os.close(self._data)
            raise
        self._index_size = 0
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes, stream: int, time: float) -> Chunk:
        """Adds one read; `data` must not be empty."""
        if not data or stream not in (STDOUT, STDERR):
            raise ValueError(f"a chunk needs bytes and a stream of 1 or 2, not {len(data)} and {stream}")
        chunk = Chunk(time, self.size, len(data), stream, self._newlines)
        self._write(data, _RECORD.pack(*chunk))
        return chunk

    def append_at(self, offset: int, data: bytes, records: Iterable[tuple[float, int, int]]) -> int:
        """Adds reads that another writer recorded at `offset`: (time, length, stream) each, together all of `data`.

        What is there already is skipped, so that a repeat has no effect. Returns the log's size: less than `offset`
        means that a range in front is missing and nothing was written. Raises ValueError for records that do not fit.
        """
        index: list[bytes] = []
        start = offset
        skip = max(0, self.size - offset)
        line = self._newlines
        for time, length, stream in records:
            end = start + length
            if length <= 0 or length > _MAX_LENGTH or stream not in (STDOUT, STDERR) or end > offset + len(data):
                raise ValueError(f"a record of {length} bytes of stream {stream} does not fit at offset {start}")
            if end > self.size:
                first = max(start, self.size)
                index.append(_RECORD.pack(time, first, end - first, stream, line))
                line += data.count(b"\n", first - offset, end - offset)
            start = end
        if start != offset + len(data):
            raise ValueError(f"{len(data)} bytes at offset {offset}, but records for {start - offset}")
        if offset <= self.size and index:
            self._write(data[skip:] if skip else data, b"".join(index))
        return self.size

    def hole(self, length: int, reason: str, time: float, *, offset: int | None = None) -> Hole:
        """Records that `length` bytes are missing at `offset` (default: the end)."""
        where = self.size if offset is None else offset
        hole = Hole(where, length, reason)
        kind = ((length >> 32 & 0xFFFF) << 16) | ((HOLE_REASONS.index(reason) + 1) << 8) | HOLE
        self._write(b"", _RECORD.pack(time, where, length & _MAX_LENGTH, kind, self._newlines))
        self._holes.append(hole)
        return hole

    @property
    def lines(self) -> int:
        """Lines in the log; an unfinished last one counts."""
        return self._newlines + self._open_line

    @property
    def holes(self) -> tuple[Hole, ...]:
        """What is missing, in the order it was recorded."""
        return tuple(self._holes)

    def sha256(self) -> str:
        """The hash (hex) of the bytes that are there. After a reopening the first call reads the file."""
        for _ in self.hashing():
            pass
        return self._hash.hexdigest()

    def hashing(self) -> Iterator[None]:
        """Hashes what was there before a reopening, a bounded piece a step."""
        while self._hashed < self.size:
            block = os.pread(self._data, min(_BLOCK, self.size - self._hashed), self._hashed)
            if not block:
                raise OSError(f"{self.path} is shorter than its index says")
            self._hash.update(block)
            self._hashed += len(block)
            yield

    def sync(self) -> None:
        """Returns once everything is on the disk."""
        os.fdatasync(self._data)
        os.fdatasync(self._index)

    def close(self) -> None:
        """Closes the files; further calls have no effect."""
        if self._data >= 0:
            os.close(self._data)
            os.close(self._index)
            self._data = self._index = -1

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, data: bytes, records: bytes) -> None:
        try:
            if data:
                _write_all(self._data, data)
            _write_all(self._index, records)
        except OSError:
            os.ftruncate(self._data, self.size)
            os.ftruncate(self._index, self._index_size)
            raise
        self._index_size += len(records)
        if data:
            if self._hashed == self.size:  # else sha256() catches up when it is asked
                self._hash.update(data)
                self._hashed += len(data)
            self.size += len(data)
            self._newlines += data.count(b"\n")
            self._open_line = data[-1] != 0x0A

    def _recover(self) -> None:
        raw = os.fstat(self._data).st_size
        size = os.fstat(self._index).st_size
        if not raw and not size:
            return
        count = size // RECORD_SIZE
        while count and _last_end(self._index, count) > raw:
            count -= 1
        self._index_size = count * RECORD_SIZE
        with LogReader(self.path) as reader:
            self.size = reader.end(count)
            self._newlines, self._open_line = reader.newlines(count)
            self._holes = list(reader.holes(count))
        if self._index_size < size:
            os.ftruncate(self._index, self._index_size)
        if self.size < raw:
            os.ftruncate(self._data, self.size)


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
            for fields in _RECORD.iter_unpack(block[: whole * RECORD_SIZE]):
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
            for _, offset, length, stream, _ in _RECORD.iter_unpack(block):
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
        return Chunk._make(_RECORD.unpack(os.pread(self._index, RECORD_SIZE, position * RECORD_SIZE)))

    def _newlines_in(self, offset: int, length: int) -> int:
        newlines = 0
        end = offset + length
        while offset < end:
            block = os.pread(self._data, min(_BLOCK, end - offset), offset)
            if not block:
                break
            newlines += block.count(b"\n")
            offset += len(block)
        return newlines


def _openssl_sha256() -> Digest:
    import hashlib

    return hashlib.sha256()


def _last_end(index: int, count: int) -> int:
    _, offset, length, stream, _ = _RECORD.unpack(os.pread(index, RECORD_SIZE, (count - 1) * RECORD_SIZE))
    return int(offset) if stream & 0xFF == HOLE else int(offset + length)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
