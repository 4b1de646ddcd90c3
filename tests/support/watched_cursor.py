"""Where the cursor of a table is on a terminal's screen, and when it got there: the whole row has another ground."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyte

from support.measured_terminal import COLUMNS, LINES, MeasuredTerminal

#: The cell of a line that is looked at, behind marks and borders.
_X = 3


class WatchedCursor:
    """Learns with a key down and one up what the cursor looks like; a table has the focus."""

    def __init__(self, terminal: MeasuredTerminal, *, patience: float = 5.0) -> None:
        self._terminal = terminal
        self._patience = patience
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._fed = 0
        self._colour, self.line = "", -1
        self._feed(0.3)
        before = self._grounds()
        terminal.press("j")
        self._feed(0.5)
        after = self._grounds()
        for y in range(1, LINES):
            if after[y] != before[y] and after[y] == before[y - 1]:
                self._colour, self.line = after[y], y
        assert self._colour, f"no cursor moved: {self._screen.display}"

    def moved(self, key: str, by: int) -> float:
        """Seconds from the key until the line `by` further down is the cursor's."""
        wanted = self.line + by
        self._feed(0.05)
        pressed = self._terminal.press(key)
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            for at in self._pieces():
                if self._screen.buffer[wanted][_X].bg == self._colour:
                    self.line = wanted
                    return at - pressed
            time.sleep(0.0005)
        raise AssertionError(f"{key} did not move the cursor to line {wanted}: {self._screen.display}")

    def _feed(self, seconds: float) -> None:
        time.sleep(seconds)
        for _ in self._pieces():
            pass

    def _pieces(self) -> Iterator[float]:
        """Puts on the screen what has come; the time of each piece."""
        while self._fed < len(self._terminal.pieces):
            at, data = self._terminal.pieces[self._fed]
            self._fed += 1
            self._stream.feed(data)
            yield at

    def _grounds(self) -> list[str]:
        return [self._screen.buffer[y][_X].bg for y in range(LINES)]
