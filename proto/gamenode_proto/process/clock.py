"""One idea of "now" a process: the wall clock at its start plus monotonic time since, never going backwards.

A wall clock that jumps changes nothing here; only cron, TLS and display use it. (`decisions` D2.)
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a process takes its time from. Thread-safe; never goes backwards."""

    def now(self) -> float:
        """Unix seconds."""
        ...


class SystemClock:
    """The real clock. `not_before` is the highest time this process's store has seen (0 if none)."""

    def __init__(self, not_before: float = 0.0) -> None:
        wall = time.time()  # noqa: TID251 - the one place that reads it
        self._origin = max(wall, not_before) - time.monotonic()

    def now(self) -> float:
        """Unix seconds; grows with monotonic time, whatever the wall clock does."""
        return self._origin + time.monotonic()


def wall_clock() -> float:
    """The wall clock as it stands, for what is defined by it: certificates and calendars."""
    return time.time()  # noqa: TID251 - see above
