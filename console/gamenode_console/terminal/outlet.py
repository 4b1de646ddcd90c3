"""The way to the terminal: a thread that writes, for which nobody waits.

A terminal may stop reading for as long as it likes: a link that stalls, a pager that is scrolled, a suspended client.
What was given waits in memory meanwhile; who draws asks `behind` first, and is told once all has been taken. Knows
nothing of Textual.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import time
from collections.abc import Callable

#: Seconds that a terminal may take for what it was given before it counts as slow.
PATIENCE = 0.25
#: What waits at most, in bytes, before nothing more is drawn.
MOST = 64 << 10
#: Milliseconds between two looks at whether it is still worth waiting.
_LOOK = 100

#: Ends what the console has switched on, wherever its writing was cut off: a half sequence (CAN), a frame (2026), the
#: mouse, pasting, focus, sizes in band, no wrapping, kitty's keys, the second screen, the hidden cursor, colours.
RESTORE = (
    b"\x18\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"
    b"\x1b[?2004l\x1b[?1004l\x1b[?2048l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
)


class Outlet:
    """Writes to a terminal from its own thread. Thread-safe."""

    def __init__(self, fd: int, *, caught_up: Callable[[], None] = lambda: None) -> None:
        """`caught_up` is called from the thread when all was taken after somebody had been told that it is behind."""
        self._fd = _another(fd)
        self._caught_up = caught_up
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._waiting = 0
        #: Since when the terminal has not taken all; None: it has.
        self._slow_since: float | None = None
        self._was_behind = False
        self._ending = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Gives something to be written; never waits. What comes after the end is forgotten."""
        with self._changed:
            if not self._ending:
                self._pieces.append(data)
                self._waiting += len(data)
                self._changed.notify()

    def behind(self) -> bool:
        """Whether the terminal is slow, so that nothing should be drawn until `caught_up` is called."""
        with self._changed:
            slow = self._slow_since is not None and time.monotonic() - self._slow_since > PATIENCE
            behind = slow or self._waiting > MOST
            self._was_behind = self._was_behind or behind
            return behind

    @property
    def waiting(self) -> int:
        """Bytes that the terminal has not taken."""
        return self._waiting

    def end(self, grace: float) -> bool:
        """Writes what is left within `grace` seconds, else forgets it; whether all was written."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(grace)
        self._abandoned = True
        self._thread.join(2 * _LOOK / 1000)
        return not self._waiting

    def _run(self) -> None:
        try:
            while self._send(self._next()):
                with self._changed:
                    if self._pieces:
                        continue
                    self._slow_since = None
                    tell, self._was_behind = self._was_behind, False
                if tell:
                    self._caught_up()
        finally:
            os.close(self._fd)

    def _next(self) -> bytes:
        """All that waits, as soon as something does; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ending)
            data = b"".join(self._pieces)
            self._pieces.clear()
            return data

    def _send(self, data: bytes) -> bool:
        """Whether there is more to do."""
        rest = memoryview(data)
        while rest:
            try:
                taken = os.write(self._fd, rest)
            except BlockingIOError:
                self._slow_since = self._slow_since or time.monotonic()
                _writable(self._fd)
                if self._abandoned:
                    return False
                continue
            except OSError:  # the terminal is gone, and whoever watches it ends the console
                with self._changed:
                    self._ending = True
                    self._pieces.clear()
                    self._waiting, self._slow_since = 0, None
                return False
            rest = rest[taken:]
            with self._changed:
                self._waiting -= taken
        return bool(data)


def put_back(fd: int, attributes: list[object] | None) -> None:
    """Makes a terminal what it was, whatever is still on its way to it. Never waits, and never fails."""
    with contextlib.suppress(termios.error, OSError):  # the terminal is gone: nothing is left to be put back
        if attributes is not None:
            termios.tcsetattr(fd, termios.TCSANOW, attributes)  # type: ignore[arg-type]  # as tcgetattr gave it
        termios.tcflush(fd, termios.TCOFLUSH)
        own = _another(fd)
        try:
            os.write(own, RESTORE)
        finally:
            os.close(own)


def _writable(fd: int) -> None:
    """Waits a moment for the terminal to take something."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(_LOOK)


def _another(fd: int) -> int:
    """A descriptor of the same terminal that never waits, while those of others do as they did; or else a copy."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):  # no terminal, or one of another user's
        return os.open(os.ttyname(fd), flags)
    with contextlib.suppress(OSError):
        os.tcgetpgrp(fd)  # fails for all but the process's own terminal
        return os.open("/dev/tty", flags)
    return os.dup(fd)
