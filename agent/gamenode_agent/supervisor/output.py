"""Where an attempt's output goes: its log, up to a limit, as head and tail with the hole between them named.

The head is written to the log as it comes. What follows goes into a ring of segments beside it, files too, so that no
amount of output costs memory; when the attempt is over, what the ring still holds is put behind the hole. The name of
a segment, `log.tail.N`, says how many bytes of output came before it: so a log can be put together after a crash.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gamenode_agent.supervisor.protocol import Json
from gamenode_proto.logfile import INDEX_SUFFIX, Digest, LogReader, LogWriter

_SEGMENTS = 4
_BLOCK = 1 << 20
#: Bytes of disk that logs leave free for what must be stored: exit records, and the agent's journal, without which a
#: task that filled the disk by its log could never end. Of a small disk it is a sixteenth.
_KEEP_FREE = 8 << 20
#: Bytes of one log between two looks at the disk.
_LOOK_EVERY = 256 << 10


def _builtin_sha256() -> Callable[[], Digest]:
    # OpenSSL's is five times as fast and costs 4 MB, a quarter of what this process may have.
    for name in ("_sha2", "_sha256"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        found: Callable[[], Digest] = module.sha256
        return found
    import hashlib

    return hashlib.sha256


_sha256 = _builtin_sha256()


class NoDigest:
    """For segments, whose bytes are hashed when they come to stand in the log."""

    def update(self, data: bytes, /) -> None:
        """Does nothing."""

    def hexdigest(self) -> str:
        """Nothing."""
        return ""


class Output:
    """The log of one attempt. Files are made with the first byte, so that a silent attempt makes none."""

    __slots__ = (
        "_dropped",
        "_failed",
        "_head",
        "_log",
        "_path",
        "_room",
        "_segment",
        "_segments",
        "_tail",
        "_taken",
        "_unwritten",
        "total",
    )

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._head = max(limit - limit // 2, 1)
        self._tail = max(limit // 2 // _SEGMENTS, 1)
        self._log: LogWriter | None = None
        self._segment: LogWriter | None = None
        self._segments: list[tuple[int, str]] = []
        #: Bytes that came, kept or not.
        self.total = 0
        self._taken = 0
        self._dropped = 0
        self._failed = 0
        #: Bytes that may be written before the disk is looked at again.
        self._room = 0
        self._unwritten: list[list[object]] = []

    @property
    def size(self) -> int:
        """Bytes in the log."""
        return self._log.size if self._log is not None else 0

    @property
    def over(self) -> bool:
        """Whether the head is full, so that more output makes no longer log."""
        return bool(self._segments)

    @property
    def waiting(self) -> bool:
        """Whether bytes came that are neither in the log nor in a hole of it yet."""
        return bool(self._failed)

    def add(self, data: bytes, stream: int, time: float) -> None:
        """Takes one read. What the disk refuses is counted and becomes a hole."""
        self.total += len(data)
        if not self._segments:
            room = self._head - self.size
            if room >= len(data):
                self._put(data, stream, time)
                return
            if room:
                self._put(data[:room], stream, time)
                data = data[room:]
                if self.size < self._head:  # the disk refused: a tail begins only behind a whole head
                    self._failed += len(data)
                    return
        while data:
            if self._segment is None or self._segment.size >= self._tail:
                if not self._rotate():
                    self._failed += len(data)
                    return
                assert self._segment is not None
            part = data[: self._tail - self._segment.size]
            try:
                self._need_room(len(part))
                self._tell_failed(self._segment, time)
                self._segment.append(part, stream, time)
                self._taken += len(part)
            except OSError:
                self._failed += len(part)
            data = data[len(part) :]

    def refuse(self, length: int) -> None:
        """Counts output that is not to be kept."""
        self.total += length
        self._dropped += length

    def resume(self) -> Iterator[None]:
        """Goes on, before anything else, with what an earlier writer left, whole or cut short; a bounded piece a step.

        Then `total` is what came and was kept or is known to be missing: nothing that an earlier writer only counted.
        """
        segments = find_segments(self._path)
        if not segments and not os.path.exists(self._path):
            return
        log = self._open()
        yield from log.hashing()
        self.total = log.size + sum(hole.length for hole in log.holes)
        if segments:
            self._segments = segments
            before, path = segments[-1]
            self._segment = segment = LogWriter(path, digest=NoDigest)
            self._taken = before + segment.size + sum(hole.length for hole in segment.holes)
            self.total += self._taken

    def finish(self, time: float, *, keep: bool = False) -> Iterator[None]:
        """Puts the log together, a bounded piece a step; `keep`: the parts stay, until `drop_parts`."""
        if self._segments:
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            yield from assemble(self._open(), self._segments, time, keep=keep)
        self._note("disk_full", self._failed, time)
        self._note("limit", self._dropped, time)
        self._failed = self._dropped = 0

    def summary(self) -> Json:
        """What the log contains, for the report."""
        found = summary(self._log)
        return {**found, "holes": [*found["holes"], *self._unwritten]}

    def drop_parts(self) -> None:
        """Removes what `finish` has put into the log and kept."""
        for _, path in self._segments:
            _remove(path)

    def close(self) -> None:
        """Closes the files."""
        for file in (self._log, self._segment):
            if file is not None:
                file.close()

    def _open(self) -> LogWriter:
        if self._log is None:
            self._log = LogWriter(self._path, digest=_sha256)
        return self._log

    def _put(self, data: bytes, stream: int, time: float) -> None:
        try:
            self._need_room(len(data))
            log = self._open()
            self._tell_failed(log, time)
            log.append(data, stream, time)
        except OSError:
            self._failed += len(data)

    def _tell_failed(self, log: LogWriter, time: float) -> None:
        """The disk has room again: says what it had none for."""
        if self._failed:
            log.hole(self._failed, "disk_full", time)
            if log is self._segment:
                self._taken += self._failed
            self._failed = 0

    def _need_room(self, length: int) -> None:
        """Raises OSError where a log would take the last of the disk."""
        self._room -= length
        if self._room >= 0:
            return
        disk = os.statvfs(os.path.dirname(self._path))
        free = disk.f_bavail * disk.f_frsize - min(_KEEP_FREE, disk.f_blocks * disk.f_frsize // 16)
        self._room = min(_LOOK_EVERY, free) - length
        if self._room < 0 and free < length:
            self._room = 0
            raise OSError(errno.ENOSPC, "what is left of the disk is not for logs")

    def _rotate(self) -> bool:
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        if len(self._segments) >= _SEGMENTS:
            _remove(self._segments.pop(0)[1])
        path = f"{self._path}.tail.{self._taken}"
        try:
            self._segment = LogWriter(path, digest=NoDigest)
        except OSError:
            return False
        self._segments.append((self._taken, path))
        return True

    def _note(self, reason: str, length: int, time: float) -> None:
        if length:
            try:
                self._open().hole(length, reason, time)
            except OSError:
                # Not even 32 bytes: the report names the hole, the file cannot.
                self._unwritten.append([self.size, length, reason])


def summary(log: LogWriter | None) -> dict[str, Any]:
    """What a log contains: lines, bytes, hash, holes."""
    if log is None:
        return {"lines": 0, "bytes": 0, "sha256": _sha256().hexdigest(), "holes": []}
    return {"lines": log.lines, "bytes": log.size, "sha256": log.sha256(), "holes": [list(hole) for hole in log.holes]}


def assemble(log: LogWriter, segments: list[tuple[int, str]], time: float, *, keep: bool = False) -> Iterator[None]:
    """Puts segments (bytes before them, path) behind a log's head and removes them, unless they are to be kept."""
    before = segments[0][0]
    failed = 0
    if before:
        log.hole(before, "limit", time)
    for _, path in segments:
        with LogReader(path) as reader:
            holes = deque(reader.holes())
            start = end = 0
            records: list[tuple[float, int, int]] = []
            for chunk in reader.chunks():
                hole = bool(holes) and holes[0].offset <= chunk.offset
                if records and (hole or end - start >= _BLOCK):
                    failed += _move(log, reader, start, end, records)
                    start, records = end, []
                    yield
                while holes and holes[0].offset <= chunk.offset:
                    failed += _move_hole(log, holes.popleft().length, time)
                records.append((chunk.time, chunk.length, chunk.stream))
                end = chunk.end
            if records:
                failed += _move(log, reader, start, end, records)
            for left in holes:
                failed += _move_hole(log, left.length, time)
        if not keep:
            _remove(path)
        yield
    if failed:
        log.hole(failed, "disk_full", time)


def find_segments(path: str) -> list[tuple[int, str]]:
    """The segments that a supervisor which died has left beside the log at `path`."""
    directory, name = os.path.split(path)
    prefix = f"{name}.tail."
    found = [n[len(prefix) :] for n in os.listdir(directory) if n.startswith(prefix)]
    return sorted((int(n), f"{path}.tail.{n}") for n in found if n.isdigit())


def recover(path: str, time: float) -> Json:
    """Puts together and closes the log of an attempt whose supervisor died; the summary names what may be missing."""
    segments = find_segments(path)
    if not segments and not os.path.exists(path):
        return summary(None)
    with LogWriter(path, digest=_sha256) as log:
        if segments:
            for _ in assemble(log, segments, time):
                pass
        log.hole(0, "lost", time)
        return summary(log)


def _move(log: LogWriter, reader: LogReader, start: int, end: int, records: list[tuple[float, int, int]]) -> int:
    try:
        log.append_at(log.size, reader.read(start, end - start), records)
    except OSError:
        return end - start
    return 0


def _move_hole(log: LogWriter, length: int, time: float) -> int:
    try:
        log.hole(length, "disk_full", time)
    except OSError:
        return length
    return 0


def _remove(path: str) -> None:
    for name in (path, path + INDEX_SUFFIX):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue
