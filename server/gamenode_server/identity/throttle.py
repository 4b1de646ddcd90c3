"""How often one source may fail before it has to wait: slows down guessing, never a fleet that joins. Pure."""

from __future__ import annotations

#: Sources that are remembered; the oldest are forgotten first.
MAX_SOURCES = 10_000


class FailureThrottle:
    """A bucket of failures for each source, refilled over time."""

    def __init__(self, *, burst: int = 20, refill: float = 3.0) -> None:
        self._burst = burst
        #: Seconds in which one failure is forgiven.
        self._refill = refill
        # When each source's bucket will be full again.
        self._full_at: dict[str, float] = {}

    def wait(self, source: str, now: float) -> float:
        """Seconds the source has to wait before it may try; 0 where it may."""
        return max(0.0, self._full_at.get(source, now) - now - (self._burst - 1) * self._refill)

    def failed(self, source: str, now: float) -> None:
        """Notes a failure."""
        full_at = max(self._full_at.pop(source, now), now) + self._refill
        self._full_at[source] = full_at
        while len(self._full_at) > MAX_SOURCES:
            del self._full_at[next(iter(self._full_at))]
