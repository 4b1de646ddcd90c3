"""Things that must happen at a time of the agent's clock, by name. On the loop, without a task each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gamenode_proto.process.clock import Clock

#: The loop's clock does not count while the host sleeps, so a long wait is looked at again after this many seconds.
LONGEST = 60.0


class Timers:
    """Named deadlines. Setting one again replaces it; one in the past is due at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handles: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def set(self, name: str, at: float, due: Callable[[], None]) -> None:
        """Calls `due` at `at`, Unix seconds."""
        known = self._handles.get(name)
        if known is not None:
            if known[0] == at:
                return
            known[1].cancel()
        self._arm(name, at, due)

    def drop(self, name: str) -> None:
        """Forgets one, if it is there."""
        known = self._handles.pop(name, None)
        if known is not None:
            known[1].cancel()

    def clear(self) -> None:
        """Forgets all."""
        for _, handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _arm(self, name: str, at: float, due: Callable[[], None]) -> None:
        delay = min(LONGEST, max(0.0, at - self._clock.now()))
        handle = asyncio.get_running_loop().call_later(delay, self._fire, name, at, due)
        self._handles[name] = (at, handle)

    def _fire(self, name: str, at: float, due: Callable[[], None]) -> None:
        if self._clock.now() < at - 0.001:
            self._arm(name, at, due)
            return
        del self._handles[name]
        due()
