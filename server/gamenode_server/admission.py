"""How many agents may open their session at once, so that a reconnect storm neither starves what runs nor is refused.

Adapts by itself: sessions are opened in parallel only as far as the store answers, and each commit takes along whatever
waits. Who has waited too long is sent away with a time to come back, instead of timing out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gamenode_pipelines.errors import Code, GameNodeError

#: Sessions being opened at the same time; at 5 ms a commit that is far above 200 a second.
AT_ONCE = 64
WAITING = 20_000


class Admission:
    """A gate with a queue. Used on the loop only."""

    def __init__(self, *, patience: float, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._patience = patience
        self._gate = asyncio.Semaphore(at_once)
        self._limit = waiting
        self._waiting = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Waits for its turn and holds it. Raises LIMIT_EXCEEDED with `retry_after` where that takes too long."""
        if self._waiting >= self._limit:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._gate.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._gate.release()

    def _busy(self) -> GameNodeError:
        later = self._patience * (0.5 + random.random())
        return GameNodeError(
            Code.LIMIT_EXCEEDED,
            f"too many agents connect at once; come back in {later:.0f} s",
            details={"retry_after": f"{later:.3f}"},
        )
