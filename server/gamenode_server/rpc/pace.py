"""How often one watcher is told: at once while it is quiet, in steady steps while a lot happens."""

from __future__ import annotations

import asyncio

#: Updates that go out without a pause.
BURST = 20


class Pace:
    """A bucket of updates that fills up again, one each `interval` seconds."""

    def __init__(self, interval: float, *, burst: int = BURST) -> None:
        self._interval = interval
        self._burst = burst
        self._loop = asyncio.get_running_loop()
        self._full_at = self._loop.time()

    async def turn(self) -> None:
        """Waits until the next update may go out."""
        now = self._loop.time()
        self._full_at = max(self._full_at, now) + self._interval
        wait = self._full_at - now - self._interval * self._burst
        if wait > 0:
            await asyncio.sleep(wait)
