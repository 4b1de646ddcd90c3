"""Single requests to the engine, in threads, with errors in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gamenode_agent.engines.docker.errors import translated
from gamenode_agent.engines.docker.threads import Workers, carried_through
from gamenode_agent.engines.docker.watch import Watch
from gamenode_pipelines.errors import Code, GameNodeError

T = TypeVar("T")


class Calls:
    """Asks the engine that the watch knows. `doing` is a word for messages: create, start, …"""

    def __init__(self, watch: Watch, workers: Workers) -> None:
        self._watch = watch
        self._workers = workers

    async def ask(self, call: Callable[[Any], T], *, doing: str, subject: str = "") -> T:
        """The answer of `call(api)`. Cancelled, it is left to itself."""
        api = self._watch.api()
        try:
            return await self._workers.submit(lambda: call(api))
        except Exception as error:
            raise self._known(error, api, doing, subject) from error

    async def change(self, call: Callable[[Any], T], *, doing: str, subject: str = "") -> T:
        """The same for what changes something: cancelled, it is carried through."""
        api = self._watch.api()
        try:
            return await carried_through(self._workers.submit(lambda: call(api)))
        except Exception as error:
            raise self._known(error, api, doing, subject) from error

    async def whenever(self, call: Callable[[Any], T], *, doing: str, subject: str = "") -> T:
        """The answer, over outages of the engine."""
        while True:
            await self._watch.back()
            try:
                return await self.ask(call, doing=doing, subject=subject)
            except GameNodeError as error:
                if error.code is not Code.ENGINE_UNAVAILABLE:
                    raise
                await self._watch.settled()

    def known(self, error: Exception, api: Any, *, doing: str, subject: str = "") -> Exception:
        """An error in our words, for those who read streams themselves; a bug as it is."""
        return self._known(error, api, doing, subject)

    def _known(self, error: Exception, api: Any, doing: str, subject: str) -> Exception:
        known = translated(error, doing=doing, subject=subject)
        if known is None:
            return error
        if known.code is Code.ENGINE_UNAVAILABLE:
            self._watch.doubt(api)
        return known
