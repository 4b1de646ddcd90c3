"""Writes a log file: appends, holes, and what a crash left unfinished."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from gamenode_proto.logfile.reader import LogReader
from gamenode_proto.logfile.records import (
    BLOCK,
    HOLE,
    HOLE_REASONS,
    INDEX_SUFFIX,
    MAX_LENGTH,
    RECORD,
    RECORD_SIZE,
    STDERR,
    STDOUT,
    Chunk,
    Digest,
    Hole,
    Path,
    last_end,
)


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
        self._write(data, RECORD.pack(*chunk))
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
            if length <= 0 or length > MAX_LENGTH or stream not in (STDOUT, STDERR) or end > offset + len(data):
                raise ValueError(f"a record of {length} bytes of stream {stream} does not fit at offset {start}")
            if end > self.size:
                first = max(start, self.size)
                index.append(RECORD.pack(time, first, end - first, stream, line))
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
        self._write(b"", RECORD.pack(time, where, length & MAX_LENGTH, kind, self._newlines))
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
            block = os.pread(self._data, min(BLOCK, self.size - self._hashed), self._hashed)
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
        while count and last_end(self._index, count) > raw:
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


def _openssl_sha256() -> Digest:
    import hashlib

    return hashlib.sha256()


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
