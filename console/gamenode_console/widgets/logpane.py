"""A log, pulled from its book: what a beat costs depends on the lines that are seen, not on those that come.

Follows while it stands at the end, and holds what is read otherwise. Lines are inert, whatever is in them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gamenode_console import keys, texts
from gamenode_console.model import logsearch
from gamenode_console.model.logbook import BookState, LogBook, LogLine, step_name
from gamenode_console.widgets.prompt import Question, ask
from gamenode_console.widgets.styles import palette, rich_style
from gamenode_pipelines.errors import GameNodeError

#: Bytes that a search looks through between two keys, and in all for one key.
SLICE, REACH = 1 << 20, 256 << 20
#: Of a longer line this much is drawn.
LONGEST = 4_000
PAN = 20


class LogPane(ScrollView, can_focus=True):
    """Draws a log book."""

    BINDINGS = keys.bindings("log")
    DEFAULT_CSS = "LogPane { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"

    def __init__(self, book: LogBook, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.book = book
        self.following = True
        self.times = False
        #: What is looked for, as it was typed, and the line it was found in.
        self.searched = ""
        self.hit: int | None = None
        #: What is shown alone, as it was typed.
        self.filtered = ""
        self._wanted: re.Pattern[bytes] | None = None
        self._filter: logsearch.Filtered | None = None
        self._pan = 0
        self._version_seen: object = None
        self._first = 0
        self._prefix = 0

    def follow_book(self, book: LogBook) -> None:
        """Shows another log from its end; what was searched for and filtered belongs to the one before."""
        self.book = book
        self.following = True
        self.searched, self._wanted, self.hit = "", None, None
        self.filtered, self._filter = "", None
        self._pan = self._first = 0
        self._version_seen = None
        self.refresh()

    # -- what is there ------------------------------------------------------------------------------------------------

    def _count(self) -> int:
        return len(self._filter.lines) if self._filter is not None else len(self.book)

    def _seq(self, at: int) -> int:
        return self._filter.lines[at] if self._filter is not None else self.book.first + at

    def _at(self, seq: int) -> int:
        if self._filter is not None:
            return bisect_left(self._filter.lines, seq)
        return seq - self.book.first

    def beat(self, now: float) -> None:
        """Draws what has come."""
        if self._filter is not None:
            self._filter.look(self.book, SLICE)
        version = (self.book.version, self._count(), self.book.first)
        if version == self._version_seen:
            return
        self._version_seen = version
        gone = self.book.first - self._first if self._filter is None else 0
        self._first = self.book.first
        nodes = max(map(len, self.book.nodes), default=0) if len(self.book.nodes) > 1 else 0
        steps = max(map(len, self.book.steps), default=0) if len(self.book.steps) > 1 else 0
        self._prefix = min(40, nodes + steps + (1 if nodes and steps else 0))
        self.virtual_size = Size(self.size.width, self._count())
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
        elif gone > 0:
            self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False, force=True, immediate=True)
        self.refresh()

    @property
    def badge(self) -> str:
        """How it stands: following or held, how much, what is gone, what is looked for."""
        book, status = self.book, self.book.status
        below = max(0, self._count() - self.scroll_offset.y - self.size.height)
        parts = [f"{len(book):,} lines"]
        if book.first:
            parts.append(f"{book.first:,} before them are no longer here")
        if book.earlier:
            parts.append(f"{texts.size(book.earlier)} before them are not loaded")
        if status.state is BookState.FOLLOWING:
            parts.append("following" if self.following else f"held, {below:,} below")
        else:
            parts.append(status.text or status.state)
        if self.filtered:
            parts.append(f"&{self.filtered}: {self._count():,}")
        if self.searched:
            parts.append(f"/{self.searched}")
        return " · ".join(parts)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the log."""
        width, base = self.size.width, self.rich_style
        at = self.scroll_offset.y + y
        line = self.book.line(self._seq(at)) if 0 <= at < self._count() else None
        if line is None:
            said = "" if y or self._count() else self.book.status.text or "nothing has been written yet"
            return Strip([Segment(f" {said}", base + rich_style(self.app, "dim"))]).adjust_cell_length(width, base)
        return Strip(self._segments(line, base)).adjust_cell_length(width, base)

    def _segments(self, line: LogLine, base: Style) -> list[Segment]:
        looks = palette(self.app)
        dim = base + looks["dim"]
        front = []
        if self.times:
            front.append(Segment(f"{texts.clock_time(line.time)[11:23]} ", dim))
        if self._prefix:
            front.append(Segment(f"{self._origin(line)[: self._prefix].ljust(self._prefix)} │ ", dim))
        data = line.data[:LONGEST]
        text = texts.inert(data.decode("utf-8", "replace").removesuffix("\r").expandtabs(8))
        if len(line.data) > LONGEST:
            text += f" … {len(line.data) - LONGEST:,} bytes more"
        if self._pan:
            text = text[self._pan :]
        if line.note:
            return [*front, Segment(text, base + looks["warn"])]
        ground = base + looks["cursor-idle"] if line.seq == self.hit else base
        return [*front, *_highlighted(text, self._wanted, ground, ground + looks["hit"])]

    def _origin(self, line: LogLine) -> str:
        words = []
        if len(self.book.nodes) > 1:
            words.append(line.origin.node)
        if len(self.book.steps) > 1:
            words.append(step_name(line.origin))
        return texts.one_line(" ".join(words))

    # -- moving -------------------------------------------------------------------------------------------------------

    def _go(self, y: float) -> None:
        y = max(0, min(self.max_scroll_y, y))
        self.following = y >= self.max_scroll_y
        self.scroll_to(y=y, animate=False, force=True, immediate=True)
        self.refresh()

    def action_cursor_up(self) -> None:
        """A line up; holds."""
        self._go(self.scroll_offset.y - 1)

    def action_cursor_down(self) -> None:
        """A line down."""
        self._go(self.scroll_offset.y + 1)

    def action_page_up(self) -> None:
        """A page up; holds."""
        self._go(self.scroll_offset.y - max(1, self.size.height - 1))

    def action_page_down(self) -> None:
        """A page down."""
        self._go(self.scroll_offset.y + max(1, self.size.height - 1))

    def action_scroll_top(self) -> None:
        """To the first line that is here."""
        self._go(0)

    def action_scroll_end(self) -> None:
        """To the end; follows."""
        self._go(self.max_scroll_y)

    def action_pan_left(self) -> None:
        """Back to the left."""
        self._pan = max(0, self._pan - PAN)
        self.refresh()

    def action_pan_right(self) -> None:
        """To the right, for long lines."""
        self._pan += PAN
        self.refresh()

    def action_follow(self) -> None:
        """Follows, or holds."""
        if self.following:
            self.following = False
        else:
            self.action_scroll_end()

    def action_times(self) -> None:
        """Timestamps on or off."""
        self.times = not self.times
        self.refresh()

    # -- searching and filtering --------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Asks what to look for."""
        question = Question("/", self.searched, done=self.search, history=_SEARCHES, placeholder="text, or ~expression")
        ask(self, question)

    def search(self, text: str) -> str:
        """Looks for a text from what is seen upwards; what is wrong with it, or that there is none."""
        self.searched, self._wanted, self.hit = "", None, None
        self.refresh()
        if not text:
            return ""
        try:
            self._wanted = logsearch.pattern(text)
        except GameNodeError as error:
            return error.message
        self.searched = text
        bottom = self._seq(min(self._count(), self.scroll_offset.y + self.size.height) - 1) if self._count() else 0
        if not self._seek(bottom, back=True) and not self._seek(bottom + 1, back=False):
            return "no line has it"
        return ""

    def action_next_hit(self) -> None:
        """The next line that has it."""
        if self.hit is not None:
            self._seek(self.hit + 1, back=False)

    def action_previous_hit(self) -> None:
        """The line before that has it."""
        if self.hit is not None:
            self._seek(self.hit - 1, back=True)

    def action_next_error(self) -> None:
        """The next line that looks like trouble."""
        self._seek(self._seq(self.scroll_offset.y) + 1 if self._count() else 0, back=False, wanted=logsearch.ERRORS)

    def action_previous_error(self) -> None:
        """The one before."""
        self._seek(self._seq(self.scroll_offset.y) - 1 if self._count() else 0, back=True, wanted=logsearch.ERRORS)

    def _seek(self, start: int, *, back: bool, wanted: re.Pattern[bytes] | None = None) -> bool:
        pattern = wanted or self._wanted
        if pattern is None:
            return False
        found, _ = logsearch.find(self.book, pattern, start, back=back, budget=REACH)
        if found is None:
            return False
        self.hit = found
        at = self._at(found)
        self.following = False
        self.scroll_to(
            y=max(0, at - (0 if wanted else self.size.height // 2)), animate=False, force=True, immediate=True
        )
        self.refresh()
        return True

    def action_filter(self) -> None:
        """Asks which lines to show alone."""
        question = Question(
            "&", self.filtered, done=self.show_only, history=_SEARCHES, placeholder="text, or ~expression"
        )
        ask(self, question)

    def show_only(self, text: str) -> str:
        """Shows only lines that match, or all again; what is wrong with the text."""
        try:
            self._filter = logsearch.Filtered(logsearch.pattern(text)) if text else None
        except GameNodeError as error:
            return error.message
        self.filtered = text
        self._version_seen = None
        self.following = True
        return ""

    def line_text(self) -> str:
        """The line that was found, or else the one at the top."""
        seq = self.hit if self.hit is not None else self._seq(self.scroll_offset.y) if self._count() else None
        line = self.book.line(seq) if seq is not None else None
        return line.data.decode("utf-8", "replace") if line is not None else ""


_SEARCHES: list[str] = []


def _highlighted(text: str, wanted: re.Pattern[bytes] | None, base: Style, hit: Style) -> Sequence[Segment]:
    if wanted is None:
        return [Segment(text, base)]
    again = re.compile(wanted.pattern.decode(), wanted.flags & re.IGNORECASE)
    found, at = [], 0
    for match in again.finditer(text):
        if match.end() > match.start():
            found += [Segment(text[at : match.start()], base), Segment(match[0], hit)]
            at = match.end()
    return [*found, Segment(text[at:], base)]
