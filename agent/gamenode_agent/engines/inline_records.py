"""What the agent leaves on disk about an attempt that it carries out itself: `inline.jsonl`, a line an event.

1. `begin`, before anything is done: the evidence that it may have run. The file is created exclusively.
2. `note`: facts of its kind, before what they announce is done. `say`: a line of the agent's own in the log, which is
   no output. `closing`: how long the log was before its tail was put behind it.
3. `end`: the final report.

A line counts when it is whole. Nothing is synced: the agent's own death loses nothing, and after one of the host the
boot id says that notes may be missing. Much that was noted over and over is written anew, in short.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

FILE = "inline.jsonl"
#: A file longer than this is written anew, once it is several times as long as what it says.
_LONG = 128 << 10
_TIMES = 8

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class Kept:
    """What the file says."""

    started_at: float = 0.0
    boot_id: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    #: Lines of the agent's own in the log: how much came before each, and its length. The first may stand for many.
    said: list[tuple[int, int]] = field(default_factory=list)
    #: Bytes of the log and of its index before it was closed.
    closing: tuple[int, int] | None = None
    end: dict[str, Any] | None = None

    def said_of(self, total: int) -> int:
        """How many of the first `total` bytes that came are the agent's own."""
        return sum(min(length, max(0, total - before)) for before, length in self.said)


class Record:
    """The file of one attempt, open for more. Raises OSError where the disk says no; then the file is as before."""

    def __init__(self, directory: str, fd: int, kept: Kept) -> None:
        self.kept = kept
        self._path = f"{directory}/{FILE}"
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._limit = _LONG

    @classmethod
    def begin(cls, directory: str, *, started_at: float, boot_id: str) -> Record:
        """Begins the file. Raises FileExistsError where there is one already."""
        path = f"{directory}/{FILE}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            record = cls(directory, fd, Kept(started_at, boot_id))
            record._write(_begin(record.kept))
        except OSError:
            os.close(fd)
            os.unlink(path)  # nothing was done, and nobody has seen it
            raise
        return record

    @classmethod
    def reopen(cls, directory: str, kept: Kept) -> Record:
        """Goes on with the file that `read` has read."""
        fd = os.open(f"{directory}/{FILE}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        record = cls(directory, fd, kept)
        try:
            if record._size and os.pread(fd, 1, record._size - 1) != b"\n":
                record._write(b"\n")  # a torn line stays by itself
        except OSError:
            os.close(fd)
            raise
        return record

    def note(self, facts: dict[str, Any], *, total: int | None) -> None:
        """Adds facts of the kind. `total` bytes of output came, all of them accounted for on disk; None: not all."""
        self._write(_line({"note": facts}))
        self.kept.notes.update(facts)
        if total is not None and self._size > self._limit:
            self._shorten(total)

    def say(self, before: int, length: int) -> None:
        """Notes, before it is written, a line of the agent's own, of `length` bytes with `before` bytes before it."""
        self._write(_line({"say": [before, length]}))
        self.kept.said.append((before, length))

    def closing(self, size: int, index: int) -> None:
        """Notes how long the log and its index are before they are closed."""
        self._write(_line({"closing": [size, index]}))
        self.kept.closing = (size, index)

    def end(self, report: dict[str, Any]) -> None:
        """Adds the final report."""
        self._write(_line({"end": report}))
        self.kept.end = report

    def close(self) -> None:
        """Closes the file; further calls have no effect."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def _shorten(self, total: int) -> None:
        kept = self.kept
        said = kept.said_of(total)
        lines = [_begin(kept), _line({"note": kept.notes}), _line({"say": [0, said]})]
        if kept.closing is not None:
            lines.append(_line({"closing": kept.closing}))
        data = b"".join(lines)
        self._limit = max(_LONG, len(data) * _TIMES)
        if self._size <= self._limit:
            return
        unfinished = self._path + ".new"
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(28, "No space left on device")
            os.rename(unfinished, self._path)
        except OSError:
            os.close(fd)
            os.unlink(unfinished)
            self._limit = self._size * 2  # what there is, is whole; asked again later
            return
        os.close(self._fd)
        self._fd, self._size = fd, len(data)
        kept.said = [(0, said)]


def read(directory: str) -> Kept | None:
    """What there is about an attempt; None where it was never begun here."""
    try:
        with open(f"{directory}/{FILE}", "rb") as file:
            lines = file.read().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    # The file itself is the evidence, whatever became of its first line.
    kept = Kept()
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # torn by a crash or a full disk
        match value:
            case {"begin": {"started_at": started_at, "boot_id": boot_id}}:
                kept.started_at, kept.boot_id = float(started_at), str(boot_id)
            case {"note": dict(facts)}:
                kept.notes.update(facts)
            case {"say": [before, length]}:
                kept.said.append((before, length))
            case {"closing": [size, index]}:
                kept.closing = (size, index)
            case {"end": dict(report)}:
                kept.end = report
            case _:
                pass
    return kept


def _begin(kept: Kept) -> bytes:
    return _line({"begin": {"started_at": kept.started_at, "boot_id": kept.boot_id}})


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value).encode() + b"\n"
