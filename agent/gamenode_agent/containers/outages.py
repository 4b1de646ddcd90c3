"""Getting through outages of the engine: calls that wait for its return, and whether it ended a container itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar

from gamenode_agent.engines.containers import ContainerEngine, ContainerEvent
from gamenode_agent.engines.inline import Handle
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:  # the steps import this
    from gamenode_agent.steps.tools import Tools

Answer = TypeVar("Answer")

#: An engine is waited for as long as the step may take; this is how long one wait of many is.
_LONG = 3600.0
#: An engine that seems to be there and does not answer is asked again after this long.
_PAUSE = 0.2


async def begin(tools: Tools, attempt: Handle) -> ContainerEngine:
    """The engine for a step: one that begins waits a little for it, one that had begun as long as it may take.

    Raises ENGINE_UNAVAILABLE.
    """
    engine = tools.containers()
    if attempt.resumed:
        if not engine.available:
            await back(engine)
    else:
        await engine.ready(tools.engine_wait)
    return engine


async def through(engine: ContainerEngine, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of a call that may be made again, however long the engine is away."""
    while True:
        try:
            return await ask()
        except GameNodeError as error:
            if error.code is not Code.ENGINE_UNAVAILABLE:
                raise
        await back(engine)


async def back(engine: ContainerEngine) -> None:
    """Returns when the engine is there (again)."""
    await asyncio.sleep(_PAUSE)  # it may count as there until its watch has noticed
    while True:
        try:
            return await engine.ready(_LONG)
        except GameNodeError as error:
            if error.code is not Code.ENGINE_UNAVAILABLE:
                raise


class Witness:
    """Sees whether a running container ends by itself or by its engine, which stops, or starts again without it."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self._wake = asyncio.Event()
        self._wake.set()  # there may have been an outage since it was noted
        self.note()

    async def watch(self, container: str) -> NoReturn:
        """Looks after each outage whether it still runs, until cancelled."""
        unsubscribe = self._engine.subscribe(self._heard)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                number = self._engine.outages
                if number == self._seen or not self._engine.available:
                    continue
                found = await through(self._engine, lambda: self._engine.inspect(container))
                if found is not None and found.running and number == self._engine.outages:
                    self.note()
        finally:
            unsubscribe()

    async def engine_away(self) -> bool:
        """Whether the engine is away, or was, since the container was last seen running; it has just ended."""
        # An answer may come late, from an engine that has just been started: so what is counted is looked at after it.
        return not await self._engine.accepting() or self._engine.outages != self._seen

    def note(self) -> None:
        """It runs, or is being started, as of now."""
        info = self._engine.info
        #: With live-restore containers do not notice that their engine stops.
        self.survives = info is not None and info.live_restore
        #: The number of outages when it was last seen running.
        self._seen = self._engine.outages

    def _heard(self, event: ContainerEvent | None) -> None:
        if event is None:
            self._wake.set()
