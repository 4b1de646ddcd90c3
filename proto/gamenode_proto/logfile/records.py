"""What a log file is made of: the records of its index, and their words."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple, Protocol

STDOUT = 1
STDERR = 2
#: The stream of a record that stands for bytes that are missing.
HOLE = 0

INDEX_SUFFIX = ".idx"
#: Why bytes are missing. `lost`: the writer died, and the length is unknown (0).
HOLE_REASONS = ("limit", "disk_full", "lost")

RECORD = struct.Struct("<dQIIQ")  # time, offset, length, stream, first line
RECORD_SIZE = RECORD.size
MAX_LENGTH = 0xFFFF_FFFF
BLOCK = 1 << 20

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


def last_end(index: int, count: int) -> int:
    """Where the bytes end that the first `count` records of an open index tell of."""
    _, offset, length, stream, _ = RECORD.unpack(os.pread(index, RECORD_SIZE, (count - 1) * RECORD_SIZE))
    return int(offset) if stream & 0xFF == HOLE else int(offset + length)
