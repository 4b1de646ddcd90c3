"""How long to wait before trying again. Pure: the caller draws the random numbers and does the waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def full_jitter(attempt: int, random: float, *, base: float = 0.5, cap: float = 30.0) -> float:
    """Seconds to wait before try `attempt` (from 0): anywhere between 0 and `min(cap, base * 2**attempt)`.

    `random` is from [0, 1). Full jitter spreads a fleet that lost its server at one moment best (AWS Architecture Blog,
    "Exponential Backoff And Jitter").
    """
    if attempt < 0:
        raise ValueError(f"attempt is {attempt}, must be at least 0")
    # 2**attempt of a peer that is away for a week is a number with a thousand digits.
    return random * min(cap, base * 2.0 ** min(attempt, 63))


def delays(random: Callable[[], float], *, base: float = 0.5, cap: float = 30.0) -> Iterator[float]:
    """Endless waits by `full_jitter`; start a new one after a connection that held."""
    attempt = 0
    while True:
        yield full_jitter(attempt, random(), base=base, cap=cap)
        attempt += 1
