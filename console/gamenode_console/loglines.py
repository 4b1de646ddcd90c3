"""Pieces of several logs → whole lines with where they come from. Pure; knows no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gamenode_console import texts
from gamenode_proto.v1.state_management_pb2 import LogPiece

LogKey = tuple[str, int, str, int]
#: A line that is longer is cut here, so that a log without newlines needs no more memory than this.
MAX_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log a line is from."""

    node: str
    step: str
    attempt: int
    fence: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one log, without its newline; or a note in place of one (a hole)."""

    origin: Origin
    time: float
    data: bytes
    note: bool = False
    #: More of the same line follows, or the log ended within it.
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known of a log when its last piece has come."""

    origin: Origin
    complete: bool
    lines: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class _Rest:
    time: float
    parts: list[bytes] = field(default_factory=list)
    length: int = 0


class LineCutter:
    """Cuts the pieces of any number of logs into lines, in the order in which the lines end."""

    def __init__(self) -> None:
        self._rests: dict[LogKey, _Rest] = {}
        self._origins: dict[LogKey, Origin] = {}

    def feed(self, piece: LogPiece) -> Iterator[Line | Ended]:
        """The lines that this piece completes."""
        ref = piece.ref
        key = (ref.task_id, ref.fence, ref.step_id, ref.attempt)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(piece.node, ref.step_id, ref.attempt, ref.fence)
        if piece.data:
            yield from self._cut(key, origin, piece.data, piece.time)
        if piece.HasField("hole"):
            yield from self._rest(key, origin)
            yield Line(origin, piece.time, f"[{hole(piece)}]".encode(), note=True)
        if piece.HasField("end"):
            yield from self._rest(key, origin)
            end = piece.end
            yield Ended(origin, end.complete, end.lines, end.bytes, end.sha256)

    def flush(self) -> Iterator[Line]:
        """What is left of lines that have not ended."""
        for key in list(self._rests):
            yield from self._rest(key, self._origins[key])

    def _cut(self, key: LogKey, origin: Origin, data: bytes, time: float) -> Iterator[Line]:
        rest = self._rests.pop(key, None)
        *whole, tail = data.split(b"\n")
        for text in whole:
            if rest is not None:
                rest.parts.append(text)
                yield Line(origin, rest.time, b"".join(rest.parts))
                rest = None
            else:
                yield Line(origin, time, text)
        if tail:
            rest = rest or _Rest(time)
            rest.parts.append(tail)
            rest.length += len(tail)
            if rest.length >= MAX_LINE:
                yield Line(origin, rest.time, b"".join(rest.parts), partial=True)
                rest = None
        if rest is not None:
            self._rests[key] = rest

    def _rest(self, key: LogKey, origin: Origin) -> Iterator[Line]:
        rest = self._rests.pop(key, None)
        if rest is not None:
            yield Line(origin, rest.time, b"".join(rest.parts), partial=True)


@dataclass(slots=True)
class Style:
    """How lines are written: which parts of their origin go in front, and whether they go to a terminal."""

    nodes: bool = False
    steps: bool = False
    timestamps: bool = False
    #: Show what a terminal would act on as a picture of itself.
    inert: bool = False
    grep: re.Pattern[bytes] | None = None
    #: Grows to the longest prefix seen, so that lines stay aligned.
    width: int = 0

    def prefix(self, origin: Origin) -> str:
        """`node/step`, as far as there are several; a later attempt has its number."""
        step = f"{origin.step}#{origin.attempt}" if origin.attempt > 1 else origin.step
        words = ([origin.node] if self.nodes else []) + ([step] if self.steps or (origin.attempt > 1) else [])
        return texts.one_line("/".join(words))

    def wants(self, line: Line) -> bool:
        """Whether the line is shown; holes always are."""
        return line.note or self.grep is None or self.grep.search(line.data) is not None

    def render(self, line: Line) -> bytes:
        """The line with what goes in front of it, newline included."""
        front = ""
        if self.timestamps:
            front = f"{texts.clock_time(line.time)} "
        if prefix := self.prefix(line.origin):
            self.width = max(self.width, min(len(prefix), 40))
            front += f"{prefix.ljust(self.width)} | "
        data = line.data
        if self.inert:
            data = texts.inert(data.removesuffix(b"\r").decode("utf-8", "replace")).encode()
        return front.encode() + data + b"\n"


def hole(piece: LogPiece) -> str:
    """What is missing where the piece has its hole; of one without a length nobody knows how much."""
    length = piece.hole.length
    what = f"{length} byte{' is' if length == 1 else 's are'}" if length else "bytes may be"
    return f"{what} missing here: {piece.hole.reason}"


def summary(ended: Ended) -> str:
    """How a log ended, in a line."""
    lines = f"{ended.lines} line{'' if ended.lines == 1 else 's'}"
    if ended.complete:
        return f"complete: {lines}, {ended.bytes} bytes, sha256 {ended.sha256}"
    return f"not complete: {lines}, {ended.bytes} bytes are here"
