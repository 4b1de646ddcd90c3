"""What of Textual is not made for terminals that stall, vanish, or are written to by others: all that is done about it.

Relies on names that Textual keeps to itself; `tests/tui/test_console_terminals.py` fails where they change.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Generic

from textual import events
from textual._compositor import ChopsUpdate
from textual.app import App, ReturnType
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.timer import Timer

from gamenode_console.terminal.outlet import Outlet, put_back
from gamenode_console.terminal.plain import ascii_only

if TYPE_CHECKING:
    from rich.console import RenderableType

logger = logging.getLogger(__name__)

#: Seconds that a terminal may take for what was drawn last.
GRACE = 1.0
#: Seconds without another change of size.
SETTLED = 0.25
#: Parts of the screen that are remembered one by one.
_PARTS = 500


class ConsoleDriver(LinuxDriver):
    """Writes through an outlet, so that no write waits for the terminal."""

    outlet: Outlet | None = None
    #: The terminal was given back as it was.
    left = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Textual would stop the process, and the server that lives in it. What is started here is to have the default
        # again, so it is not ignored. (`ctrl+z` is a key.)
        signal.signal(signal.SIGTSTP, lambda _number, _frame: None)

    def start_application_mode(self) -> None:
        """Takes the terminal."""
        self.left = False
        # Textual's own thread is started as well, and gets nothing to do.
        self.outlet = Outlet(self._terminal, caught_up=self._caught_up)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        # Textual's handler reads the size wherever the signal meets it, also within itself: the size that was read
        # first is then told last, and stays. In the loop they come one after the other.
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, self._resized)

    def write(self, data: str) -> None:
        """Writes something; never waits."""
        if self.outlet is not None:
            text = data if getattr(self._app, "utf8", True) else ascii_only(data)
            self.outlet.write(text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Ends what writes, after a moment for what was written last."""
        super().close()
        if self.outlet is not None:
            self.left = self.outlet.end(GRACE)
        self.let_go()

    def let_go(self) -> None:
        """Makes the terminal what it was, if it is not yet. From any thread."""
        if not self.left:
            self.left = True
            if self.outlet is not None:
                self.outlet.end(0)
            put_back(self._terminal, self.attrs_before)

    @property
    def behind(self) -> bool:
        """Whether the terminal does not keep up."""
        return self.outlet is not None and self.outlet.behind()

    def _resized(self) -> None:
        if not self._in_band_window_resize:
            size = Size(*self._get_terminal_size())
            self._app.post_message(events.Resize(size, size))

    @property
    def _terminal(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    def _caught_up(self) -> None:
        self._app.call_later(self._app.caught_up)  # type: ignore[attr-defined]  # of every patient app

    def _get_terminal_size(self) -> tuple[int, int]:
        """Of the terminal that is drawn on, whatever descriptor 1 and the environment say."""
        try:
            size = os.get_terminal_size(self._terminal)
        except OSError:
            return 80, 24
        return size.columns, size.lines


class PatientApp(App[ReturnType], Generic[ReturnType]):
    """An app that draws nothing on a terminal that does not keep up, and that ends in the log when it breaks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(driver_class=ConsoleDriver, **options)
        #: What was to be drawn and was not; None: all of the screen.
        self._missing: set[Region] | None = set()
        #: Runs while the size may change again at once.
        self._settling: Timer | None = None

    # -- for those who build on it ------------------------------------------------------------------------------------

    def frame_skipped(self) -> None:
        """A frame was not drawn."""

    def caught_up(self) -> None:
        """The terminal keeps up again: what is missing on it is drawn as it is by now."""
        missing, self._missing = self._missing, set()
        if missing is None:
            self.screen.refresh()
        elif missing:
            self.screen.refresh(*missing)

    @property
    def failure(self) -> Exception | None:
        """What it broke with."""
        return self._exception

    @property
    def behind(self) -> bool:
        """Whether the terminal does not keep up; whatever is not a frame should not be written to it either."""
        return isinstance(self._driver, ConsoleDriver) and self._driver.behind

    def write_aside(self, data: str) -> bool:
        """Writes what is no frame to the terminal; false where it does not keep up, or there is none."""
        if self._driver is None or self.behind:
            return False
        self._driver.write(data)
        return True

    def let_go(self) -> None:
        """Gives the terminal back, whatever goes on. From any thread."""
        if isinstance(self._driver, ConsoleDriver):
            self._driver.let_go()

    # -- where Textual would wait, or write to the terminal ------------------------------------------------------------

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if renderable is None or not self.behind:
            super()._display(screen, renderable)
            return
        self.frame_skipped()
        if not isinstance(renderable, ChopsUpdate) or (self._missing and len(self._missing) > _PARTS):
            self._missing = None
        elif self._missing is not None:
            self._missing |= {Region(left, y, right - left, 1) for y, left, right in renderable.spans}

    def on_resize(self) -> None:
        """Draws everything once the sizes have settled, also where the last one is as the first.

        A terminal changes its size beside what is on its way to it: what it was sent for one size it may have shown in
        another, and lost a part of.
        """
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLED, self._draw_everything)

    def _draw_everything(self) -> None:
        self._settling = None
        if self._screen_stack:
            self.screen.refresh()

    def bell(self) -> None:
        """Rings, where somebody would hear it now."""
        if not self.behind:
            super().bell()

    def _set_pointer_shape(self, shape: str) -> None:
        if not self.behind:
            super()._set_pointer_shape(shape)

    def _print(self, text: str, stderr: bool = False) -> None:
        """What somebody prints: into the log, which is where descriptor 2 goes."""
        if self.is_headless:
            super()._print(text, stderr)
        else:
            os.write(2, text.encode("utf-8", "replace"))

    def _fatal_error(self) -> None:
        logger.critical("the screen broke", exc_info=self._exception)
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        """Ends, with what is to be said in the log."""
        if self._exception is None and (error := sys.exc_info()[1]) is not None:
            logger.critical("the screen broke", exc_info=error)
        for renderable in renderables:
            segments = self.console.render(renderable, self.console.options)
            logger.critical("the screen ended: %s", "".join(segment.text for segment in segments))
        self._close_messages_no_wait()
