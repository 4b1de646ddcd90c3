"""Tells when a terminal is gone, also where no signal says so: `nohup`, `setsid`, a screen that hangs.

A thread of its own that sleeps until then.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable


def is_gone(fd: int, *, wait: float = 0.0) -> bool:
    """Whether nobody is at the other end of a terminal, now or within `wait` seconds; a negative `wait` has no end."""
    poll = select.poll()
    poll.register(fd, 0)  # a hang-up is told whatever else is asked for
    return bool(poll.poll(wait * 1000 if wait >= 0 else None))


def when_gone(fd: int, tell: Callable[[], None]) -> None:
    """Calls `tell` from a thread once the terminal is gone."""

    def watch() -> None:
        if is_gone(fd, wait=-1):
            tell()

    threading.Thread(target=watch, name="terminal-watch", daemon=True).start()
