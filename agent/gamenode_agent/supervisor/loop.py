"""The supervisor's event loop: epoll, timers, and what is done at the end of each turn. Knows no attempt."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
#: epoll counts monotonic time, which stands still while the host sleeps; deadlines do not. So wake up now and then.
_LONGEST_SLEEP = 30.0


def boottime() -> float:
    """Seconds since the host was booted, suspended or not: what deadlines are counted in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Timer:
    """Something to be done later."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not be done."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Calls handlers of file descriptors and timers, one at a time, until it is stopped."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._vital: set[int] = set()
        self._timers: list[Timer] = []
        self._at_end: Callable[[], None] = _nothing
        self._stopped = False

    def watch(self, fd: int, handler: Callable[[int], None], events: int = READABLE, *, vital: bool = False) -> None:
        """Has `handler(mask)` called whenever `fd` is ready. One that raises is dropped, unless it is vital."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler
        if vital:
            self._vital.add(fd)

    def change(self, fd: int, events: int) -> None:
        """Waits for other events of a watched `fd`."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forgets `fd`, which must still be open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watching(self, fd: int) -> bool:
        """Whether `fd` is watched."""
        return fd in self._handlers

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Has `callback()` called once, `seconds` from now."""
        timer = Timer(boottime() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def at_end_of_turn(self, callback: Callable[[], None]) -> None:
        """Has `callback()` called after every turn: the place for what is better done once for many."""
        self._at_end = callback

    def stop(self) -> None:
        """Ends `run` after this turn."""
        self._stopped = True

    def report(self) -> None:
        """Writes the exception that is being handled to standard error, which is the supervisor's log."""
        import traceback

        traceback.print_exc()

    def run(self) -> None:
        """Runs until `stop`."""
        handlers, timers, poll = self._handlers, self._timers, self._epoll.poll
        while not self._stopped:
            while timers and timers[0].callback is None:
                heapq.heappop(timers)
            timeout = _LONGEST_SLEEP
            if timers:
                timeout = min(timeout, max(0.0, timers[0].at - boottime()))
            for fd, mask in poll(timeout):
                handler = handlers.get(fd)  # an earlier handler of this turn may have closed it
                if handler is not None:
                    try:
                        handler(mask)
                    except Exception:
                        # One attempt's trouble is not the others': they must not lose their supervisor to it.
                        self.report()
                        if fd not in self._vital:
                            self.unwatch(fd)
            if timers:
                now = boottime()
                while timers and timers[0].at <= now:
                    callback = heapq.heappop(timers).callback
                    if callback is not None:
                        try:
                            callback()
                        except Exception:
                            self.report()
            self._at_end()


def _nothing() -> None:
    pass
