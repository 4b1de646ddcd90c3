"""Lines of one or several logs with sequence numbers, in bounded memory. Pure; knows no screen and no connection.

Putting costs nothing a line: bytes are kept as they came, in segments of whole lines, and are split where somebody
looks. One thread puts, another reads; a segment that somebody holds may still grow only while its line is unfinished.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gamenode_console.loglines import MAX_LINE, Origin

#: What a book holds at most, in bytes.
MEMORY = 256 << 20
#: What a segment costs beside its bytes.
OVERHEAD = 200
#: Segments whose lines are kept split.
SPLIT_KEPT = 32


class BookState(StrEnum):
    """What is being done about a book."""

    OPENING = "opening"
    FOLLOWING = "following"
    LOST = "lost"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """What is being done about a book, since when, and why."""

    state: BookState = BookState.OPENING
    since: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: its number, where it is from, its bytes without the newline."""

    seq: int
    origin: Origin
    time: float
    data: bytes
    #: Not of the log, but about it (a hole, an end): a style word that says how it looks. Empty: a line of the log.
    note: str = ""
    #: More of the same line may follow, as a growing line or as the next one.
    partial: bool = False


@dataclass(slots=True)
class Segment:
    """Whole lines of one log that came together; or one line that has not ended."""

    first: int
    count: int
    origin: Origin
    time: float
    data: bytes
    note: str = ""
    #: Its only line may grow.
    open: bool = False

    @property
    def cost(self) -> int:
        """What it takes of the book's memory."""
        return len(self.data) + OVERHEAD


class LogBook:
    """The lines of what is looked at. The numbers of lines grow, and stay with them."""

    def __init__(self, *, memory: int = MEMORY, max_line: int = MAX_LINE) -> None:
        self._memory = memory
        self._max_line = max_line
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._firsts: list[int] = []
        self._open: dict[Origin, Segment] = {}
        self._split: OrderedDict[int, Sequence[bytes]] = OrderedDict()
        self._end = 0
        self._held = 0
        self._version = 0
        self._status = Status()
        #: The names that lines came from, and the longest of them: what a prefix needs.
        self.nodes: set[str] = set()
        self.steps: set[str] = set()
        #: Bytes put, ever; and bytes before them that were not asked for.
        self.received = 0
        self.earlier = 0

    # -- putting ------------------------------------------------------------------------------------------------

    def put(self, origin: Origin, time: float, data: bytes) -> None:
        """Bytes of one log, cut wherever they were. Costs no more for many lines than for one."""
        if not data:
            return
        with self._lock:
            self._meet(origin)
            self.received += len(data)
            position = self._grow(origin, data)
            length = len(data)
            while position < length:
                window = position + self._max_line + 1
                newline = data.rfind(b"\n", position, window)
                if newline >= 0:
                    self._add(origin, time, data[position : newline + 1])
                    position = newline + 1
                    continue
                part = data[position : window - 1]
                position += len(part)
                self._add(origin, time, part, open=position == length)
            self._evict()
            self._version += 1

    def note(self, origin: Origin, time: float, text: str, look: str = "warn") -> None:
        """A line about a log in place of one of it; what was unfinished before it stays as it is."""
        with self._lock:
            self._meet(origin)
            self._close(origin)
            self._add(origin, time, text.encode(), note=look)
            self._evict()
            self._version += 1

    def lacks(self, earlier: int) -> None:
        """So many bytes of a log come before what is put, and will not come."""
        if earlier:
            with self._lock:
                self.earlier += earlier
                self._version += 1

    def say(self, state: BookState, since: float, text: str = "") -> None:
        """What is being done now; `since` stays where only the text is another."""
        with self._lock:
            if self._status.state is state:
                since = self._status.since
            self._status = replace(self._status, state=state, since=since, text=text)
            self._version += 1

    def _meet(self, origin: Origin) -> None:
        if origin.node not in self.nodes:
            self.nodes = self.nodes | {origin.node}
        step = step_name(origin)
        if step not in self.steps:
            self.steps = self.steps | {step}

    def _grow(self, origin: Origin, data: bytes) -> int:
        """Completes the unfinished line of this log; how many of the bytes went there."""
        segment = self._open.get(origin)
        if segment is None:
            return 0
        newline = data.find(b"\n", 0, self._max_line - len(segment.data) + 1)
        end = newline + 1 if newline >= 0 else min(len(data), self._max_line - len(segment.data))
        segment.data += data[:end]
        self._held += end
        if newline >= 0 or end < len(data):
            self._close(origin)
        return end

    def _close(self, origin: Origin) -> None:
        segment = self._open.pop(origin, None)
        if segment is not None:
            segment.open = False

    def _add(self, origin: Origin, time: float, data: bytes, *, note: str = "", open: bool = False) -> None:
        count = 1 if note or open else data.count(b"\n") or 1
        segment = Segment(self._end, count, origin, time, data, note, open)
        self._segments.append(segment)
        self._firsts.append(segment.first)
        self._end += count
        self._held += segment.cost
        if open:
            self._open[origin] = segment

    def _evict(self) -> None:
        """Lets the oldest segments go, some at a time, so that making room costs little."""
        if self._held <= self._memory:
            return
        gone = 0
        while self._held > self._memory - self._memory // 16 and gone < len(self._segments) - 1:
            segment = self._segments[gone]
            self._held -= segment.cost
            self._close(segment.origin) if segment.open else None
            gone += 1
        del self._segments[:gone]
        del self._firsts[:gone]

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The number of the first line that is here; how many are gone before it."""
        with self._lock:
            return self._firsts[0] if self._firsts else self._end

    @property
    def last(self) -> int:
        """The number of the last line; below `first` where there is none."""
        return self._end - 1

    @property
    def version(self) -> int:
        """Another one after every change."""
        return self._version

    @property
    def held(self) -> int:
        """Bytes that the lines take here."""
        return self._held

    @property
    def status(self) -> Status:
        """What is being done about this book."""
        return self._status

    def __len__(self) -> int:
        return self._end - self.first

    def line(self, seq: int) -> LogLine | None:
        """One line; None where it is gone or not there yet. For the one thread that reads."""
        with self._lock:
            if not self._firsts or not self._firsts[0] <= seq < self._end:
                return None
            segment = self._segments[bisect_right(self._firsts, seq) - 1]
        data = self._lines(segment)[seq - segment.first]
        partial = not segment.note and not segment.data.endswith(b"\n")
        return LogLine(seq, segment.origin, segment.time, data, segment.note, partial)

    def before(self, seq: int, budget: int) -> list[Segment]:
        """Segments that begin before this line, newest first, of about so many bytes; none where all was given."""
        with self._lock:
            index = bisect_right(self._firsts, seq - 1)
            found: list[Segment] = []
            while index > 0 and budget > 0:
                index -= 1
                found.append(self._segments[index])
                budget -= found[-1].cost
            return found

    def after(self, seq: int, budget: int) -> list[Segment]:
        """Segments that begin at this line or later, oldest first, of about so many bytes."""
        with self._lock:
            index = bisect_right(self._firsts, seq - 1)
            found: list[Segment] = []
            while index < len(self._segments) and budget > 0:
                found.append(self._segments[index])
                budget -= found[-1].cost
                index += 1
            return found

    def _lines(self, segment: Segment) -> Sequence[bytes]:
        data = segment.data
        if segment.count == 1:
            return (data if segment.note else data.removesuffix(b"\n"),)
        lines = self._split.get(segment.first)
        if lines is None:
            lines = self._split[segment.first] = data.split(b"\n")
            while len(self._split) > SPLIT_KEPT:
                self._split.popitem(last=False)
        else:
            self._split.move_to_end(segment.first)
        return lines


def step_name(origin: Origin) -> str:
    """What a line's step is called; a later attempt with its number."""
    return f"{origin.step}#{origin.attempt}" if origin.attempt > 1 else origin.step
