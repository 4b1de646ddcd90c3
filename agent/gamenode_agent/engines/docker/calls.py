"""Single requests to the engine, in threads, with errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gamenode_agent.engines.docker.errors import translated, unavailable
from gamenode_agent.engines.docker.threads import Workers, carried_through, given_up
from gamenode_agent.engines.docker.watch import Watch
from gamenode_pipelines.errors import Code

T = TypeVar("T")

_Patience = Callable[["asyncio.Future[Any]", "asyncio.Future[None]"], Awaitable[bool]]


class Calls:
    """Asks the engine that the watch knows. `doing` is a word for messages: create, start, …"""

    def __init__(self, watch: Watch, workers: Workers) -> None:
        self._watch = watch
        self._workers = workers

    async def ask(self, call: Callable[[Any], T], *, doing: str, subject: str = "") -> T:
        """The answer of `call(api)`. Cancelled, it is left to itself."""
        return await self._answer(given_up, call, doing, subject)

    async def change(self, call: Callable[[Any], T], *, doing: str, subject: str = "") -> T:
        """The same for what changes something: cancelled, it is carried through."""
        return await self._answer(carried_through, call, doing, subject)

    async def _answer(self, patience: _Patience, call: Callable[[Any], T], doing: str, subject: str) -> T:
        api, lost = self._watch.line()
        future = self._workers.submit(lambda: call(api))
        # An engine that is frozen never answers; when the watch has lost sight of it, nobody waits any more.
        if await patience(future, lost):
            raise unavailable(f"lost the engine while it was asked to {doing} {subject}")
        try:
            return future.result()
        except Exception as error:
            raise self.known(error, api, doing=doing, subject=subject) from error

    def known(self, error: Exception, api: Any, *, doing: str, subject: str = "") -> Exception:
        """An error in our words, for those who read streams themselves; a bug as it is."""
        known = translated(error, doing=doing, subject=subject)
        if known is None:
            return error
        if known.code is Code.ENGINE_UNAVAILABLE:
            self._watch.doubt(api)
        return known
