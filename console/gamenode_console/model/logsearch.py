"""Finding lines in a log book: what is looked for, and looking through the book in slices, outwards from a line. Pure.

A word is found wherever it stands, whatever its case unless it has capitals; `~` begins a regular expression. Both run
on RE2, which no expression can make slow, and on many lines at once.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Any, overload

from gamenode_console.model.logbook import LogBook, Segment
from gamenode_pipelines.errors import Code, GameNodeError

#: Words that lines of trouble have.
TROUBLE = r"~\b(error|fatal|panic|exception|traceback|fail(ed|ure)?|critical|denied|refused)\b"
#: Lines that one scan keeps at most: those farthest up are not looked for, or forgotten.
MOST = 1_000_000
#: What in an expression may mean another thing at the end of one line than between two.
_AT_ENDS = re.compile(r"[$^]|\\[AzZC]|\(\?")


class Wanted:
    """What is looked for. Raises GameNodeError (invalid_argument) for an expression that is none."""

    def __init__(self, text: str) -> None:
        import re2  # type: ignore[import-untyped]  # late: who looks for nothing does not wait for it

        self.text = text
        regular = text.startswith("~") and len(text) > 1
        source = text[1:] if regular else text
        letters = re.sub(r"\\.", "", source) if regular else source
        options = re2.Options()
        options.log_errors = False  # they would be written to the terminal
        options.literal = not regular
        options.case_sensitive = letters != letters.lower()
        try:
            self._compiled: Any = re2.compile(source, options)
        except re2.error as error:
            said = error.args[0].decode("utf-8", "replace") if error.args else "RE2 refuses it"
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{source!r} is no regular expression: {said}") from error
        #: Where it matches several lines at once, one of them does; where it does not, none does.
        self.joins = not regular or _AT_ENDS.search(source) is None
        #: One line of several that it matches needs no second look.
        self.exact = not regular

    def matches(self, line: bytes) -> bool:
        """Whether a line has it; how the line ends is no part of it."""
        return self._compiled.search(line.removesuffix(b"\r")) is not None

    def first(self, data: bytes, start: int) -> int:
        """Where in several lines it begins next; -1: nowhere."""
        found = self._compiled.search(data, start)
        return -1 if found is None else int(found.start())

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where a text that is shown has it."""
        return [found.span() for found in self._compiled.finditer(text) if found.end() > found.start()]


@cache
def trouble() -> Wanted:
    """What lines of trouble have."""
    return Wanted(TROUBLE)


class Scan(Sequence[int]):
    """The numbers of the lines that have all that is wanted, as far as it has looked: upwards and downwards from where
    it began, and on as the book grows.
    """

    def __init__(self, book: LogBook, wanted: Sequence[Wanted], start: int, *, notes: bool = False) -> None:
        """Looks from `start` up first. With `notes`, lines about the log are found too."""
        self._book = book
        self._wanted = wanted
        self._notes = notes
        # A segment is looked through whole.
        around = book.before(start + 1, 1)
        #: It has looked from this line up to before that one.
        self._low = self._high = around[0].first + around[0].count if around else book.first
        self._began = self._high
        self._above = array("q")
        self._below = array("q")
        #: Lines that did not match and still grow, with how long they were.
        self._growing: dict[int, tuple[Segment, int]] = {}

    # -- looking ------------------------------------------------------------------------------------------------------

    def look(self, budget: int) -> bool:
        """Looks through about so many bytes more, both ways; whether there is more to look through."""
        self._forget()
        self._grown()
        for segment in self._book.after(self._high, budget // 2):
            self._below.extend(self._found(segment))
            self._high = segment.first + segment.count
        if not self._full:
            for segment in self._book.before(self._low, budget // 2):
                self._above.extend(reversed(self._found(segment)))
                self._low = segment.first
        return self.more

    @property
    def more(self) -> bool:
        """Whether there is something that it has not looked through."""
        return self._high <= self._book.last or (self._low > self._book.first and not self._full)

    @property
    def done(self) -> float:
        """How much of the lines it has looked through, from 0 to 1."""
        lines = len(self._book)
        return 1.0 if not lines or not self.more else min(1.0, (self._high - self._low) / lines)

    @property
    def _full(self) -> bool:
        return len(self) >= MOST

    def _found(self, segment: Segment) -> list[int]:
        if segment.note:
            return [segment.first] if self._notes else []
        growing, data = segment.open, segment.data
        if all(wanted.first(data, 0) >= 0 for wanted in self._wanted if wanted.joins):
            found = [segment.first + number for number in self._lines(data)]
        else:
            found = []
        if growing and not found:
            self._growing[segment.first] = (segment, len(data))
        return found

    def _lines(self, data: bytes) -> list[int]:
        """Numbers of the lines in the data that have all that is wanted."""
        lead = next((wanted for wanted in self._wanted if wanted.joins), None)
        if lead is None:
            lines = data.removesuffix(b"\n").split(b"\n")
            return [number for number, line in enumerate(lines) if all(each.matches(line) for each in self._wanted)]
        rest = [each for each in self._wanted if each is not lead or not each.exact]
        found, number, counted = [], 0, 0
        at = lead.first(data, 0)
        while at >= 0:
            begin = data.rfind(b"\n", 0, at) + 1
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            if begin < len(data):  # what stands behind the last newline is no line
                number += data.count(b"\n", counted, begin)
                counted = begin
                line = data[begin:end]
                if all(each.matches(line) for each in rest):
                    found.append(number)
            at = lead.first(data, end + 1) if end + 1 < len(data) else -1
        return found

    def _grown(self) -> None:
        """Looks again at lines that were not whole."""
        for first, (segment, length) in list(self._growing.items()):
            growing, data = segment.open, segment.data
            if len(data) > length and all(each.matches(data.removesuffix(b"\n")) for each in self._wanted):
                self._put(first)
                del self._growing[first]
            elif growing:
                self._growing[first] = (segment, len(data))
            else:
                del self._growing[first]

    def _put(self, seq: int) -> None:
        at = bisect_left(self, seq)
        above = len(self._above)
        if at < above or (at == above and seq < self._began):
            self._above.insert(above - at, seq)
        else:
            self._below.insert(at - above, seq)

    def _forget(self) -> None:
        """Lets go of lines that the book has no longer, and of the oldest where there are too many."""
        first = self._book.first
        self._low, self._high = max(self._low, first), max(self._high, first)
        gone = bisect_left(self, first)
        gone = max(gone, len(self) - MOST)
        up = min(gone, len(self._above))
        if up:
            del self._above[len(self._above) - up :]
        if gone > up:
            del self._below[: gone - up]
        for each in [each for each in self._growing if each < first]:
            del self._growing[each]

    # -- what was found -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._above) + len(self._below)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        above = len(self._above)
        return self._above[above - 1 - at] if 0 <= at < above else self._below[at - above]

    def index_of(self, seq: int) -> int:
        """Where a line is among those found, or else the next one."""
        return bisect_left(self, seq)

    def nearest(self, seq: int, *, back: bool) -> tuple[int | None, bool]:
        """The nearest line from `seq` on, or up from it; and whether that is certain, or has to be looked for yet."""
        at = bisect_left(self, seq + 1 if back else seq)
        if back:
            found = self[at - 1] if at else None
            known = self._high > seq or self._high > self._book.last
            if found is None:
                known = known and (self._low <= self._book.first or self._full)
            return found, known
        found = self[at] if at < len(self) else None
        known = self._low <= seq or self._low <= self._book.first or self._full
        if found is None:
            known = known and self._high > self._book.last
        return found, known
