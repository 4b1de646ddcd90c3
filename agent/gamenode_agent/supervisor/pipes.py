"""The two pipes an attempt writes into, read a bounded piece a turn, so that no writer keeps others waiting."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from gamenode_agent.supervisor.loop import Loop
from gamenode_agent.supervisor.masking import Masker

_READ = 1 << 16
#: Bytes a second that are read from a writer who is to go slow.
_SLOW = 64 << 20
_STREAMS = (1, 2)


class Pipes:
    """Reads until both are closed. `took(data, stream)` gets what was read and says whether to go slow."""

    def __init__(self, loop: Loop, took: Callable[[bytes, int], bool], masks: list[bytes]) -> None:
        self._loop = loop
        self._took = took
        self._masks = {stream: Masker(masks) for stream in _STREAMS} if masks else {}
        self._fds: dict[int, int] = {}
        self._other_ends: list[int] = []

    def open(self) -> tuple[int, int]:
        """Makes the pipes; returns the ends to write into, for standard output and error."""
        for stream in _STREAMS:
            readable, writable = os.pipe2(os.O_CLOEXEC)
            self._fds[stream] = readable
            self._other_ends.append(writable)
            os.set_blocking(readable, False)
        return self._other_ends[0], self._other_ends[1]

    def close_other_ends(self) -> None:
        """The writer has its own by now."""
        for fd in self._other_ends:
            os.close(fd)
        self._other_ends.clear()

    def watch(self) -> None:
        """Begins to read."""
        for stream in self._fds:
            self._resume(stream)

    def say(self, line: bytes) -> None:
        """Takes a line of our own as if it had been read from standard error."""
        self._took(line, 2)

    def drain(self) -> None:
        """Reads what is there and closes.

        Whoever could write is gone, so that is all there is; or the writer is foreign and none of our business.
        """
        for stream, fd in list(self._fds.items()):
            for _ in range(32):
                try:
                    data = os.read(fd, _READ)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._take(data, stream)
            self._close(stream)

    def close(self) -> None:
        """Closes without reading."""
        for fd in self._fds.values():
            self._loop.unwatch(fd)
            os.close(fd)
        self._fds.clear()

    def _readable(self, stream: int, _mask: int) -> None:
        fd = self._fds[stream]
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self._close(stream)
        elif self._take(data, stream) and len(data) >= _READ // 4:
            self._loop.unwatch(fd)
            self._loop.after(len(data) / _SLOW, partial(self._resume, stream))

    def _resume(self, stream: int) -> None:
        fd = self._fds.get(stream)
        if fd is not None:
            self._loop.watch(fd, partial(self._readable, stream))

    def _take(self, data: bytes, stream: int) -> bool:
        masker = self._masks.get(stream)
        if masker is not None:
            data = masker.feed(data)
        return bool(data) and self._took(data, stream)

    def _close(self, stream: int) -> None:
        fd = self._fds.pop(stream)
        self._loop.unwatch(fd)
        os.close(fd)
        masker = self._masks.get(stream)
        rest = masker.end() if masker is not None else b""
        if rest:
            self._took(rest, stream)
