"""A log, pulled from its book: what a beat costs depends on the lines that are seen, not on those that come.

Draws a `LogView` and hands it the keys. Lines are inert, whatever is in them.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import Worker

from gamenode_console import keys, texts
from gamenode_console.model.logbook import LogBook, LogLine
from gamenode_console.model.logsearch import Wanted
from gamenode_console.model.logview import LogView, Row
from gamenode_console.widgets.prompt import Question, ask
from gamenode_console.widgets.styles import palette
from gamenode_pipelines.errors import GameNodeError

PAN = 20
#: Colours of nodes where a terminal has sixteen, and how many there are where it has more.
ANSI = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")
HUES = 12


class LogPane(ScrollView, can_focus=True):
    """Draws a log book."""

    BINDINGS = keys.bindings("log")
    DEFAULT_CSS = "LogPane { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }"

    def __init__(self, book: LogBook, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = LogView(book)
        self._rows: list[Row] = []
        self._version_seen: object = None
        #: The scroll bar is moved by the pane, and not by a hand.
        self._placing = False
        self._looking: Worker[None] | None = None

    class AllWanted(Message):
        """The log was not loaded from its beginning, and somebody wants to see that."""

        def __init__(self, pane: LogPane) -> None:
            super().__init__()
            self.pane = pane

        @property
        def control(self) -> LogPane:
            """The pane."""
            return self.pane

    def show_from_start(self, book: LogBook) -> None:
        """Shows another log from its beginning, and holds there."""
        self.view.follow_book(book)
        self.view.hold()
        self._show()

    def follow_book(self, book: LogBook) -> None:
        """Shows another log from its end; what was searched for and filtered belongs to the one before."""
        self.view.follow_book(book)
        self._show()

    @property
    def book(self) -> LogBook:
        """What is shown."""
        return self.view.book

    @property
    def hit(self) -> int | None:
        """The line that was found."""
        return self.view.hit

    @property
    def badge(self) -> str:
        """How it stands."""
        return self.view.badge

    # -- drawing ------------------------------------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """Draws what has come."""
        version = self.book.version
        if version != self._version_seen:
            self._version_seen = version
            self.view.take()
            self._look()
            self._show()

    def on_resize(self, event: events.Resize) -> None:
        """More or less is seen."""
        self._show()

    def _show(self) -> None:
        """Draws the window where it says something else, and puts the scroll bar right."""
        view, size = self.view, self.size
        view.width, view.height = size.width, max(1, size.height)
        self._rows = view.rows()
        self.refresh()
        place, end = view.place, view.end
        self._placing = True
        try:
            below = end.line + (end.skip > 0)
            self.virtual_size = Size(size.width, below + size.height if below else len(self._rows))
            y = self.max_scroll_y if view.following or place >= end else place.line
            self.scroll_to(y=y, animate=False, force=True, immediate=True)
        finally:
            self._placing = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """A hand on the scroll bar or the wheel moves the window."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and round(old_value) != round(new_value):
            if round(new_value) < self.max_scroll_y:
                self.view.go_to(round(new_value))
            elif not self.view.following:  # or it was moved to the end because the pane has grown
                self.view.follow()
            self._show()

    def render_line(self, y: int) -> Strip:
        """One row of the window."""
        width, base = self.size.width, self.rich_style
        if y >= len(self._rows):
            said = "" if y or self._rows else self._nothing()
            return Strip([Segment(f" {said}", base + palette(self.app)["dim"])]).adjust_cell_length(width, base)
        return Strip(self._segments(self._rows[y], base)).adjust_cell_length(width, base)

    def _nothing(self) -> str:
        if self.view.finding.filtered:
            return f"no line has {texts.one_line(self.view.finding.filtered)}"
        return self.book.status.text or "nothing has been written yet"

    def _segments(self, row: Row, base: Style) -> list[Segment]:
        view, looks, line = self.view, palette(self.app), row.line
        here = line.seq in (view.hit, view.opened)
        ground = base + looks["cursor-idle"] if here else base
        text = ground + looks.get(line.note, Style.null()) if line.note else ground
        return [
            *self._front(row, base + looks["dim"]),
            *_highlighted(row.text, view.finding.wanted, text, ground + looks["hit"]),
        ]

    def _front(self, row: Row, dim: Style) -> list[Segment]:
        """When and where from; only spaces before further rows of a line."""
        view, line, front = self.view, row.line, []
        if view.times:
            at = f"{texts.clock_time(line.time)[11:23]} "
            front.append(Segment(" " * len(at) if row.number else at, dim))
        if view.prefix:
            name = " " * view.prefix if row.number else view.origin(line)[: view.prefix].ljust(view.prefix)
            look = self._look_of(line) if len(self.book.nodes) > 1 else dim
            front += [Segment(name, look), Segment(" ┆ " if row.number else " │ ", dim)]
        return front

    def _look_of(self, line: LogLine) -> Style:
        """The colour of a node: the same wherever it is seen. Its name says which node it is."""
        app = self.app
        if app.no_color:
            return self.rich_style
        hue = zlib.crc32(line.origin.node.encode())
        if app.native_ansi_color:
            return self.rich_style + Style(color=ANSI[hue % len(ANSI)])
        variables = app.theme_variables
        return self.rich_style + _hue(hue % HUES, variables["background"], variables["foreground"])

    # -- moving -------------------------------------------------------------------------------------------------------

    def action_cursor_up(self) -> None:
        """A line up; holds."""
        self.view.step(-1)
        self._show()

    def action_cursor_down(self) -> None:
        """A line down."""
        self.view.step(1)
        self._show()

    def action_page_up(self) -> None:
        """A page up; holds."""
        self.view.scroll(1 - max(2, self.size.height))
        self._show()

    def action_page_down(self) -> None:
        """A page down."""
        self.view.scroll(max(2, self.size.height) - 1)
        self._show()

    def action_scroll_top(self) -> None:
        """To the first line that is here; from there, what comes before it is wanted too."""
        if self.book.earlier and not self.view.following and self.view.place <= (0, 0):
            self.post_message(self.AllWanted(self))
        self.view.go_to(0)
        self._show()

    def action_scroll_end(self) -> None:
        """To the end; follows."""
        self.view.follow()
        self._show()

    def action_pan_left(self) -> None:
        """Back to the left."""
        self.view.pan = max(0, self.view.pan - PAN)
        self._show()

    def action_pan_right(self) -> None:
        """To the right, for long lines."""
        if not self.view.wrap:
            self.view.pan += PAN
        self._show()

    def action_follow(self) -> None:
        """Follows, or holds."""
        if self.view.following:
            self.view.hold()
        else:
            self.view.follow()
        self._show()

    def action_times(self) -> None:
        """Timestamps on or off."""
        self.view.times = not self.view.times
        self._show()

    def action_wrap(self) -> None:
        """Long lines over several rows, or cut."""
        self.view.wrap, self.view.pan = not self.view.wrap, 0
        self._show()

    def action_open_line(self) -> None:
        """All of a line, or no longer."""
        self.view.open_or_close()
        self._show()

    # -- searching and filtering --------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Asks what to look for."""
        asked = self.view.finding.searched
        ask(self, Question("/", asked, done=self.search, history=_SEARCHES, placeholder="text, or ~expression"))

    def search(self, text: str) -> str:
        """Looks for a text from what is seen upwards; what is wrong with it."""
        try:
            self.view.look_for(text)
        except GameNodeError as error:
            return error.message
        self._look_on()
        return ""

    def action_filter(self) -> None:
        """Asks which lines to show alone."""
        asked = self.view.finding.filtered
        ask(self, Question("&", asked, done=self.show_only, history=_SEARCHES, placeholder="text, or ~expression"))

    def show_only(self, text: str) -> str:
        """Shows only lines that match, or all again; what is wrong with the text."""
        try:
            self.view.show_only(text)
        except GameNodeError as error:
            return error.message
        self._look_on()
        return ""

    def action_next_hit(self) -> None:
        """The next line that has it."""
        self.view.next_hit(back=False)
        self._look_on()

    def action_previous_hit(self) -> None:
        """The line before that has it."""
        self.view.next_hit(back=True)
        self._look_on()

    def action_next_error(self) -> None:
        """The next line that looks like trouble."""
        self.view.next_trouble(back=False)
        self._look_on()

    def action_previous_error(self) -> None:
        """The one before."""
        self.view.next_trouble(back=True)
        self._look_on()

    def _look_on(self) -> None:
        self._look()
        self._show()

    def _look(self) -> None:
        """Looks through what has come; where that is much, a little at a time, so that keys are heard meanwhile."""
        busy = self._looking is not None and not self._looking.is_finished
        if not busy and self.view.advance():
            self._looking = self.run_worker(self._look_through(), group="looking")

    async def _look_through(self) -> None:
        while self.view.advance():
            self._version_seen = None  # the next beat shows how far it is
            await asyncio.sleep(0)

    def take_back(self) -> bool:
        """Closes the line that is open, or clears the search, or else the filter; whether there was one."""
        view = self.view
        if view.opened is not None:
            view.open_or_close()
        elif view.finding.searched:
            view.look_for("")
        elif view.finding.filtered:
            view.show_only("")
        else:
            return False
        self._show()
        return True

    def line_text(self) -> str:
        """The line that is open or was found, or else the one at the top."""
        view = self.view
        chosen = view.opened if view.opened is not None else view.hit
        if chosen is None and self._rows:
            chosen = self._rows[0].line.seq
        line = self.book.line(chosen) if chosen is not None else None
        return line.data.decode("utf-8", "replace") if line is not None else ""


_SEARCHES: list[str] = []


def _highlighted(text: str, wanted: Wanted | None, base: Style, hit: Style) -> list[Segment]:
    found, at = [], 0
    for begin, end in wanted.spans(text) if wanted is not None else ():
        found += [Segment(text[at:begin], base), Segment(text[begin:end], hit)]
        at = end
    return [*found, Segment(text[at:], base)]


@lru_cache(maxsize=64)
def _hue(number: int, background: str, foreground: str) -> Style:
    """One of the colours that all can be read on a theme's ground."""
    dark = Color.parse(background).brightness < 0.5
    colour = Color.from_hsl(number / HUES, 0.6, 0.7 if dark else 0.35)
    return Style(color=colour.blend(Color.parse(foreground), 0.15, alpha=1).rich_color)
