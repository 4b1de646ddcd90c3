"""A log beneath something else: of what the cursor stands on, once it rests there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from gamenode_console import texts
from gamenode_console.core.logfeeds import Source, fill
from gamenode_console.model.logbook import LogBook
from gamenode_console.widgets.logpane import LogPane

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp
    from gamenode_console.core.asking import Feed

#: Of what a log has already, so many last lines of each step on each node are read.
TAIL = 500
#: The cursor has to rest so long on something before its log is read, seconds.
REST = 0.2


class FollowingLog(LogPane):
    """Follows the log it is pointed at; holds no more than one connection, and none while it is not shown."""

    DEFAULT_CSS = """
    FollowingLog { border-top: solid $panel; border-title-color: $text-accent; }
    FollowingLog:focus { border-top: solid $accent; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(LogBook(), id=id)
        self.border_title = "Log"
        self.source: Source | None = None
        self._wanted: Source | None = None
        self._since = 0.0
        self._feed: Feed | None = None

    def point_at(self, source: Source | None, now: float) -> None:
        """What is wanted now; it is read when that has not changed for a moment."""
        if source != self._wanted:
            self._wanted, self._since = source, now

    def beat(self, now: float) -> None:
        """Turns to what is wanted, and draws what has come."""
        if self._wanted != self.source and not 0 <= now - self._since < REST:
            self._turn_to(self._wanted)
        super().beat(now)
        title = f"Log {texts.one_line(self.source.title)}" if self.source is not None else "Log"
        if self.has_focus and self.source is not None:
            title += f" · {self.badge}"
        if title != self.border_title:
            self.border_title = title

    def _turn_to(self, source: Source | None) -> None:
        self.let_go()
        self.source = source
        book = LogBook()
        self.follow_book(book)
        if source is not None:
            self._feed = cast("ConsoleApp", self.app).core.spawn(partial(fill, source, book, tail=TAIL))

    def _nothing(self) -> str:
        if self.source is None:
            return "no log yet"
        return super()._nothing()

    def let_go(self) -> None:
        """Reads nothing any more; what is pointed at next is read anew."""
        if self._feed is not None:
            self._feed.cancel()
        self._feed, self.source = None, None

    def on_unmount(self) -> None:
        """Ends what it reads."""
        self.let_go()

    def on_log_pane_all_wanted(self, event: LogPane.AllWanted) -> None:
        """The whole log is for the view that has the screen to itself."""
        event.stop()
        if self.source is not None:
            cast("ConsoleApp", self.app).operations.open_source(self.source)
