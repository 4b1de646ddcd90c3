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

from gamenode_proto.logfile.reader import LogReader
from gamenode_proto.logfile.records import (
    HOLE,
    HOLE_REASONS,
    INDEX_SUFFIX,
    RECORD_SIZE,
    STDERR,
    STDOUT,
    Chunk,
    Digest,
    Hole,
)
from gamenode_proto.logfile.writer import LogWriter

__all__ = [
    "HOLE",
    "HOLE_REASONS",
    "INDEX_SUFFIX",
    "RECORD_SIZE",
    "STDERR",
    "STDOUT",
    "Chunk",
    "Digest",
    "Hole",
    "LogReader",
    "LogWriter",
]
