"""Looking again and again until something is there, for as long as a step may take; each new reason is said once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gamenode_agent.engines.inline import Handle
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock

#: How long is looked where the step has no time limit, seconds.
DEFAULT = 30.0
#: How long one look may take, and the pause before the next.
ONE_LOOK, PAUSE = 5.0, 0.5
#: Different reasons that are said; a server may have a new one each time.
MOST_SAID = 50

_T = TypeVar("_T")


class NotThere(Exception):
    """It is not there yet; the text says what is there instead."""


def patience(timeout: float) -> float:
    """How long to look where the step may take `timeout` (0: no limit): it gives up itself, for it can say why."""
    return timeout - min(1.0, timeout / 10) if timeout else DEFAULT


async def until(attempt: Handle, clock: Clock, look: Callable[[], Awaitable[_T]], *, seconds: float, what: str) -> _T:
    """What `look` brings, once it does not raise NotThere any more; counted from when the attempt first began.

    Raises GameNodeError(STEP_TIMEOUT) with the last reason: `WHAT after N s: REASON`.
    """
    said: set[str] = set()
    deadline = attempt.started_at + seconds
    while True:
        left = max(0.1, deadline - clock.now())
        try:
            async with asyncio.timeout(min(ONE_LOOK, left)):
                return await look()
        except NotThere as error:
            reason = str(error)
        except TimeoutError:
            reason = "it does not answer"
        if reason not in said and len(said) < MOST_SAID:
            said.add(reason)
            attempt.say(reason)
        if clock.now() + PAUSE >= deadline:
            raise GameNodeError(
                Code.STEP_TIMEOUT, f"{what} after {seconds:g} s: {reason}", details={"timeout": f"{seconds:g}"}
            )
        await asyncio.sleep(PAUSE)
