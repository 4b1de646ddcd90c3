"""The agent's idea of "now": boot time plus an origin that survives restarts, so that a wall clock that jumps while a
task runs neither ends it early nor keeps it for ever.
"""

from __future__ import annotations

import time
from pathlib import Path

from gamenode_proto.process.clock import wall_clock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Names this boot of the host."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


class BootClock:
    """Unix seconds as an origin plus CLOCK_BOOTTIME, which also counts while the host sleeps. Thread-safe."""

    def __init__(self, origin: float) -> None:
        #: What to hand to the next agent process of this boot while tasks are under way.
        self.origin = origin

    @classmethod
    def from_wall(cls, not_before: float = 0.0) -> BootClock:
        """A clock that agrees with the wall clock as it stands, but is never below `not_before`."""
        return cls(max(wall_clock(), not_before) - time.clock_gettime(time.CLOCK_BOOTTIME))

    def now(self) -> float:
        """Unix seconds; never goes backwards."""
        return self.origin + time.clock_gettime(time.CLOCK_BOOTTIME)
