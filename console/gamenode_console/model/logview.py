"""What of a log book is seen: which lines, which of them first, what is looked for in them. Pure; draws nothing.

A window is kept by the number of its first line, so it stands still however many lines come below and go above. It
follows while it stands at the end.
"""

from __future__ import annotations

from typing import NamedTuple

from gamenode_console import texts
from gamenode_console.model import logrows, logtext
from gamenode_console.model.logbook import BookState, LogBook, LogLine, Segment, step_name
from gamenode_console.model.logfinding import SLICE, Finding
from gamenode_console.model.logrows import Place

#: Lines whose rows are kept.
KEPT = 400
LONGEST_PREFIX = 40
#: How what is not loaded is had.
LOAD = "g, and again"
CLOCK = len("00:00:00.000 ")


class Row(NamedTuple):
    """One row of the window."""

    line: LogLine
    text: str
    #: Which of the line's rows it is.
    number: int


class LogView:
    """A window on a log book."""

    def __init__(self, book: LogBook) -> None:
        self.width, self.height = 80, 24
        self.wrap = False
        self.times = False
        self.follow_book(book)

    def follow_book(self, book: LogBook) -> None:
        """Another book, from its end; nothing is searched for, filtered or opened."""
        self.book = book
        self.following = True
        self.finding = Finding(book)
        #: The line that was found, and the one that is opened.
        self.hit: int | None = None
        self.opened: int | None = None
        self.pan = 0
        self._top = self._skip = 0
        #: It followed before a line was opened.
        self._followed = False
        self._kept: dict[int, list[str]] = {}
        self._shape: object = None
        self.prefix = 0
        self.take()

    # -- which lines --------------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Takes over what the book has now; until then nothing moves."""
        book = self.book
        self._first, self._last = book.first, book.last
        nodes = max(map(len, book.nodes), default=0) if len(book.nodes) > 1 else 0
        steps = max(map(len, book.steps), default=0) if len(book.steps) > 1 else 0
        self.prefix = min(LONGEST_PREFIX, nodes + steps + (1 if nodes and steps else 0))
        if self.opened is not None and self.opened < self._first:
            self.opened = None

    @property
    def count(self) -> int:
        """How many lines are listed."""
        shown = self.finding.filter
        return len(shown) if shown is not None else self._last - self._first + 1

    def _seq(self, at: int) -> int:
        shown = self.finding.filter
        return shown[at] if shown is not None else self._first + at

    def _at(self, seq: int) -> int:
        """Where a line is listed, or else the next one."""
        shown = self.finding.filter
        return shown.index_of(seq) if shown is not None else max(0, seq - self._first)

    def origin(self, line: LogLine | Segment) -> str:
        """What stands before a line where lines come from several places."""
        words = []
        if len(self.book.nodes) > 1:
            words.append(line.origin.node)
        if len(self.book.steps) > 1:
            words.append(step_name(line.origin))
        return texts.one_line(" ".join(words))

    # -- the window ---------------------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """What the window begins with, by where it is listed."""
        end = self.end
        if not self.following:
            return min(end, Place(self._at(self._top), self._skip if self._top >= self._first else 0))
        return end

    @property
    def end(self) -> Place:
        """What it begins with where it ends with the last line."""
        return logrows.at_end(self.count, self.height, self._height)

    def rows(self) -> list[Row]:
        """What fills the window: as many rows as it has, or fewer where there are no more."""
        found: list[Row] = []
        at, skip = place = self.place
        self._put(place)
        for listed in range(at, self.count):
            line = self.book.line(self._seq(listed))
            if line is not None:
                rows = enumerate(self._texts(listed))
                found += [Row(line, text, number) for number, text in rows if number >= skip]
            skip = 0
            if len(found) >= self.height:
                break
        return found[: self.height]

    def _put(self, place: Place) -> None:
        self._top = self._seq(place.line) if self.count else self._first
        self._skip = place.skip

    def _height(self, at: int) -> int:
        return len(self._texts(at)) if self.wrap or self._seq(at) == self.opened else 1

    def _texts(self, at: int) -> list[str]:
        width = max(8, self.width - (self.prefix + 3 if self.prefix else 0) - (CLOCK if self.times else 0))
        shape = (width, self.wrap, self.pan, self.opened)
        if shape != self._shape or len(self._kept) > KEPT:
            self._shape = shape
            self._kept.clear()
        seq = self._seq(at)
        rows = self._kept.get(seq)
        if rows is None:
            line = self.book.line(seq)
            rows = self._made(line, width) if line is not None else [""]
            if line is not None and not line.partial:
                self._kept[seq] = rows
        return rows

    def _made(self, line: LogLine, width: int) -> list[str]:
        if line.seq == self.opened:
            return logtext.opened(line.data, width)
        if self.wrap:
            return logtext.wrapped(logtext.shown(line.data), width)
        return [logtext.cut(logtext.shown(line.data), self.pan, width)]

    # -- moving -------------------------------------------------------------------------------------------------------

    def _go(self, place: Place) -> None:
        end = self.end
        self.following = place >= end
        self._put(min(place, end))

    def scroll(self, by: int) -> None:
        """So many rows down, or up. Holds, unless it comes to the end."""
        self._go(logrows.moved(self.place, by, self.count, self._height))

    def step(self, by: int) -> None:
        """A row down or up; where a line is opened, the next one is opened instead."""
        if self.opened is None:
            return self.scroll(by)
        at = self._at(self.opened) + by
        if 0 <= at < self.count:
            self._open(self._seq(at))
        return None

    def go_to(self, at: int) -> None:
        """To a line by where it is listed: a hand on the scroll bar."""
        self._go(Place(max(0, min(self.count - 1, at))))

    def follow(self) -> None:
        """To the end, and on with it."""
        self.following = True
        self.opened = None

    def hold(self) -> None:
        """Stays where it is."""
        self._put(self.place)
        self.following = False

    def open_or_close(self) -> None:
        """Shows all of a line, or no longer: the one that was found, or the newest, or the one at the top."""
        if self.opened is not None:
            self.opened = None
            self.following = self._followed
        elif rows := self.rows():
            self._followed = self.following
            chosen = self.hit if self._in_sight(self.hit) else rows[-1 if self.following else 0].line.seq
            self.hold()
            self._open(chosen)

    def _open(self, seq: int | None) -> None:
        assert seq is not None
        self.opened = seq
        at = self._at(seq)
        first, last = Place(at), logrows.ending_with(at, self.height, self._height)
        # The whole line is in sight, or its beginning.
        self._put(min(first, max(last, self.place)))

    # -- looking for lines --------------------------------------------------------------------------------------------

    def advance(self, budget: int = SLICE) -> bool:
        """Looks through the book a little more; whether there is more to look through."""
        more = self.finding.advance(budget)
        if (found := self.finding.granted()) is not None:
            self._point(found)
        return more

    def look_for(self, text: str) -> None:
        """Looks for a text from what is seen upwards, then downwards. Raises GameNodeError for a wrong expression."""
        self.finding.search(text, self._bottom())
        self.hit = None
        self.advance()

    def show_only(self, text: str) -> None:
        """Lists only lines that match, or all again around what is seen. Raises GameNodeError."""
        around = self.hit if self._in_sight(self.hit) else None
        self.finding.show_only(text, self._bottom())
        if text:
            self.follow()
        elif around is not None and not self.following:
            self._point(around)
        self.advance()

    def next_hit(self, *, back: bool) -> None:
        """Goes to the next line that was looked for, or the one before."""
        self.finding.next_hit(self._start(back), back=back)
        self.advance()

    def next_trouble(self, *, back: bool) -> None:
        """Goes to the next line that looks like trouble, or the one before."""
        self.finding.next_trouble(self._start(back), back=back)
        self.advance()

    def _bottom(self) -> int:
        rows = self.rows()
        return rows[-1].line.seq if rows else self._last

    def _start(self, back: bool) -> int:
        """Where the next line is looked for: from the one that was found, if it is in sight."""
        if self.hit is not None and self._in_sight(self.hit):
            return self.hit + (-1 if back else 1)
        return self._bottom() if back or not (rows := self.rows()) else rows[0].line.seq

    def _in_sight(self, seq: int | None) -> bool:
        return any(row.line.seq == seq for row in self.rows())

    def _point(self, seq: int) -> None:
        """Goes to a line, and moves nothing where it is in sight."""
        self.hit = seq
        in_sight = self._in_sight(seq)
        self.hold()
        if self.opened is not None:
            self._open(seq)
        elif not in_sight:
            self._put(logrows.moved(Place(self._at(seq)), -(self.height // 2), self.count, self._height))

    # -- what is said and kept ----------------------------------------------------------------------------------------

    def text(self) -> str:
        """All lines that are listed, each with where it is from where there are several places."""
        if self.finding.filter is not None:
            listed = (self.book.line(seq) for seq in self.finding.filter)
            lines = [self._marked(line.data, line) for line in listed if line is not None]
        else:
            lines = [
                self._marked(segment.data.removesuffix(b"\n"), segment)
                for segment in self.book.after(self.book.first, self.book.held)
            ]
        return "".join(lines)

    def _marked(self, data: bytes, of: LogLine | Segment) -> str:
        prefix = f"{self.origin(of)} | " if self.prefix else ""
        return prefix + data.decode("utf-8", "replace").replace("\n", f"\n{prefix}") + "\n"

    @property
    def badge(self) -> str:
        """Following or held, how much is there, what is gone or was not loaded, what is looked for."""
        book, status = self.book, self.book.status
        parts = [f"{len(book):,} line{'' if len(book) == 1 else 's'}"]
        if book.first:
            parts.append(f"{book.first:,} before them are no longer here")
        if book.earlier:
            parts.append(f"{texts.size(book.earlier)} before them not loaded: {LOAD}")
        if status.state is BookState.FOLLOWING:
            rows = self.rows()
            below = self.count - 1 - self._at(rows[-1].line.seq) if rows else 0
            parts.append("following" if self.following else f"held, {below:,} below")
        else:
            parts.append(status.text or status.state)
        parts += self.finding.parts()
        return " · ".join(parts)
