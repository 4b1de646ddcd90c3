"""The view of a log: a run's, a step's, or a container's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from gamenode_console import texts
from gamenode_console.core.logfeeds import Source, fill
from gamenode_console.model.logbook import LogBook
from gamenode_console.screens.view import View
from gamenode_console.widgets.logpane import LogPane

if TYPE_CHECKING:
    from gamenode_console.core.asking import Feed


#: Of what a log has already, so many last lines of each step on each node are read at first.
TAIL = 20_000


class Logs(View):
    """One log that fills the screen."""

    NAME = "Log"
    KEY_GROUPS: ClassVar[tuple[str, ...]] = ("log",)
    DEFAULT_CSS = "Logs #badge { height: 1; color: $text-muted; padding: 0 1; }"

    def __init__(self, source: Source | None = None) -> None:
        super().__init__()
        self._source = source
        self._book = LogBook()
        self._feed: Feed | None = None

    @property
    def title_text(self) -> str:
        """Which log."""
        return f"Log {texts.one_line(self._source.title)}" if self._source is not None else "Log"

    def body(self) -> ComposeResult:
        """The log, and how it stands."""
        yield LogPane(self._book)
        yield Static("", id="badge", markup=False)

    def on_mount(self) -> None:
        """Begins to read; without a source, the log of the newest run."""
        if self._source is None:
            newest = max(self.world.run_list(), key=lambda run: run.created_at, default=None)
            if newest is not None:
                self._source = Source(run=newest.id)
        if self._source is not None:
            self._read(self._source, tail=TAIL)
        self.query_one(LogPane).focus()

    def _read(self, source: Source, *, tail: int) -> None:
        if self._feed is not None:
            self._feed.cancel()
        self._feed = self.console.core.spawn(partial(fill, source, self._book, tail=tail))

    def on_log_pane_all_wanted(self, event: LogPane.AllWanted) -> None:
        """Reads the log anew, from its beginning."""
        event.stop()
        if self._source is not None:
            self._book = LogBook()
            event.pane.show_from_start(self._book)
            self._read(self._source, tail=-1)

    def on_unmount(self) -> None:
        """Ends it."""
        if self._feed is not None:
            self._feed.cancel()

    def beat(self, now: float) -> None:
        """Draws what has come."""
        pane = self.query_one(LogPane)
        pane.beat(now)
        said = pane.badge if self._source is not None else "no run has a log yet: t starts a pipeline"
        if said != getattr(self, "_said", None):
            self._said = said
            self.query_one("#badge", Static).update(said)

    def go_back(self) -> bool:
        """Closes the line that is open, or clears the search, then the filter."""
        return self.query_one(LogPane).take_back()

    def copied(self) -> str:
        """The line that was found, or the one at the top."""
        return self.query_one(LogPane).line_text()

    def exported(self, kind: str = "") -> tuple[str, str] | None:
        """All lines that are listed."""
        text = self.query_one(LogPane).view.text()
        return f"{self.title_text.lower().replace(' ', '-').replace('/', '-')}.log", text
