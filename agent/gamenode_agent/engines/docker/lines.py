"""Lines out of what the engine sends of a log, each with a mark that names it; and where to go on after one. Pure.

The engine gives each line the time it read it, to the nanosecond; a line longer than 16 KiB comes in parts which share
the time of the first. Within one stream times only grow, and lines of one time come in order; between stdout and stderr
they may be swapped, because two writers stamp them first and store them after. So a mark is time, stream, and number
among those of the same time and stream: `2026-01-01T00:00:00.000000001Z/1/000002`.
"""

from __future__ import annotations

import calendar
import struct
from collections.abc import Iterator
from time import strptime

from gamenode_agent.engines.containers import LogLine
from gamenode_pipelines.errors import Code, GameNodeError

#: `2026-01-01T00:00:00.000000001Z`.
_STAMP = 30
#: Where the engine cuts a long line.
PART = 16384
#: Lines are asked for from this long before a mark, so that none that was swapped is missed.
SLACK = 1
#: The stream on which the engine says what went wrong with the others.
_COMPLAINT = 3
#: Lines of the other stream held back, at most, until the marked one was seen.
_MOST_HELD = 10_000


class LogParser:
    """Lines from bytes, as they come. `tty`: as they are; else in frames of a stream number, a length, and a line."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._pending = b""
        self._last: dict[int, tuple[bytes, int]] = {}
        self._second = b""
        self._epoch = 0

    def feed(self, data: bytes) -> list[LogLine]:
        """The lines that are whole now."""
        self._pending += data
        return list(self._raw() if self._tty else self._frames())

    def finish(self) -> list[LogLine]:
        """A last line of a terminal that nothing ends."""
        rest, self._pending = self._pending, b""
        return [self._line(1, rest)] if self._tty and len(rest) > _STAMP else []

    def _frames(self) -> Iterator[LogLine]:
        at, data = 0, self._pending
        while len(data) - at >= 8:
            stream, size = struct.unpack_from(">BxxxL", data, at)
            if len(data) - at - 8 < size:
                break
            body = data[at + 8 : at + 8 + size]
            if stream == _COMPLAINT:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT, f"the engine cannot read this log: {body.decode(errors='replace')}"
                )
            yield self._line(stream, body)
            at += 8 + size
        self._pending = data[at:]

    def _raw(self) -> Iterator[LogLine]:
        at, data = 0, self._pending
        while True:
            newline = data.find(b"\n", at)
            cut = at + _STAMP + 1 + PART
            if 0 <= newline < cut:
                end = newline + 1
            elif len(data) >= cut + _STAMP + 1 and data.startswith(data[at : at + _STAMP + 1], cut):
                end = cut
            elif newline >= 0 and len(data) >= cut + _STAMP + 1:
                end = newline + 1
            else:
                break
            yield self._line(1, data[at:end])
            at = end
        self._pending = data[at:]

    def _line(self, stream: int, data: bytes) -> LogLine:
        stamp = data[:_STAMP]
        before, number = self._last.get(stream, (b"", 0))
        number = number + 1 if before == stamp else 0
        self._last[stream] = (stamp, number)
        if stamp[:19] != self._second:
            self._second = stamp[:19]
            self._epoch = _epoch(self._second.decode())
        text = stamp.decode()
        mark = f"{text}/{stream}/{number:06d}" if number else f"{text}/{stream}"
        return LogLine(mark, self._epoch + int(stamp[20:29]) / 1e9, stream, data[_STAMP + 1 :])


def _epoch(text: str) -> int:
    return calendar.timegm(strptime(text, "%Y-%m-%dT%H:%M:%S"))


def since(mark: str) -> str:
    """What the engine is to be asked for, so that the line behind a mark is among what it sends."""
    return f"{_epoch(mark[:19]) - SLACK}.{mark[20:29]}"


class Resume:
    """Lets pass what is behind a mark, in the engine's order. Where the marked line is no more, what is later."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._stamp, self._stream, *number = mark.split("/")
        self._number = int(number[0]) if number else 0
        self._held: list[LogLine] = []
        self._found = False

    def passing(self, line: LogLine) -> list[LogLine]:
        """What is known to be behind it now that this line has come."""
        if self._found:
            return [line]
        if line.mark == self._mark:
            self._found = True
            self._held.clear()
            return []
        stamp, stream, *_ = line.mark.split("/")
        if stamp > self._stamp:
            self._held.append(line)
            if stream == self._stream or len(self._held) > _MOST_HELD:
                return self.finish()
        return []

    def finish(self) -> list[LogLine]:
        """What was held back, because the marked line will not come."""
        self._found = True
        held, self._held = self._held, []
        return held
