"""Keeps sight of the engine: finds it, follows its events as the sign of life, finds it again.

One thread reads the events; a ping every few seconds notices an engine that keeps its sockets open and does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gamenode_agent.engines.containers import ContainerEvent, EngineInfo
from gamenode_agent.engines.docker.errors import not_asked
from gamenode_agent.engines.docker.feeds import Feed
from gamenode_agent.engines.docker.finding import LOOK_TIMEOUT, Found, candidates, find, speaks
from gamenode_agent.engines.docker.reading import engine_info, happened
from gamenode_agent.engines.docker.streams import Body
from gamenode_agent.engines.docker.threads import Workers

logger = logging.getLogger(__name__)

Listener = Callable[[ContainerEvent | None], None]

#: Seconds between two signs of life.
PING_EVERY = 5.0
FIRST_RETRY = 0.1
#: What is listened to. Health checks alone would make three events each time.
_ACTIONS = (
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "kill",
    "stop",
    "pause",
    "unpause",
    "destroy",
    "rename",
    "update",
)
_FILTERS = json.dumps({"type": ["container", "network"], "event": [*_ACTIONS, "health_status"]})


class Watch:
    """The one who knows whether the engine is there."""

    def __init__(self, address: str, environ: dict[str, str], workers: Workers, *, retry: float) -> None:
        self.problem = "the container engine has not been looked for yet"
        self.info: EngineInfo | None = None
        self.outages = 0
        self._told_address = address
        self._environ = environ
        self._workers = workers
        self._retry = retry
        self._found: Found | None = None
        self._events: Feed[Any] | None = None
        self._up = asyncio.Event()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners: list[Listener] = []

    @property
    def available(self) -> bool:
        """Whether it answered last time."""
        return self._up.is_set()

    @property
    def address(self) -> str:
        """Where it was found, or would be looked for first."""
        if self._found is not None:
            return self._found.address
        return next(iter(candidates(self._told_address, self._environ)), "")

    def api(self) -> Any:
        """The client; raises ENGINE_UNAVAILABLE while it is away."""
        return self.line()[0]

    def line(self) -> tuple[Any, asyncio.Future[None]]:
        """The client, and what comes when it is lost."""
        if not self._up.is_set() or self._found is None:
            raise not_asked(self.problem)
        return self._found.api, self._lost

    async def back(self) -> None:
        """Waits until it is available, however long."""
        await self._up.wait()

    def knock(self) -> bool:
        """Whether it answers on a new connection at this moment. In a thread."""
        return self._found is not None and speaks(self._found.address)

    async def settled(self) -> None:
        """After a call that found it away: waits a moment, and until it is back."""
        await asyncio.sleep(FIRST_RETRY)
        await self._up.wait()

    async def stirred(self, container: str, *, within: float) -> None:
        """Waits for something to happen to a container, or to the engine; at most so many seconds."""
        happened_to_it = asyncio.Event()

        def heard(event: ContainerEvent | None) -> None:
            if event is None or event.id == container:
                happened_to_it.set()

        end = self.subscribe(heard)
        try:
            async with asyncio.timeout(within):
                await happened_to_it.wait()
        except TimeoutError:
            pass
        finally:
            end()

    async def ready(self, within: float) -> None:
        """Waits until it is available, at most so many seconds; raises ENGINE_UNAVAILABLE."""
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError:
            raise not_asked(self.problem) from None

    def doubt(self, api: Any) -> None:
        """A call to `api` had no answer: asks now whether it is there."""
        if self._found is not None and self._found.api is api:
            self._found.doubted.set()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """See the seam."""
        self._listeners.append(listener)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def close(self) -> None:
        """Ends the connections to it."""
        if self._events is not None:
            self._events.close()
        if self._found is not None:
            self._found.api.close()

    async def run(self) -> None:
        """Until cancelled."""
        delay = FIRST_RETRY
        while True:
            try:
                found = await self._workers.submit(lambda: find(self._told_address, self._environ))
            except Exception as error:  # an engine that answers oddly is no reason to end the agent
                logger.exception("the container engine cannot be asked")
                found = f"the container engine answers in a way that is not understood: {error}"
            if isinstance(found, Found):
                outages = self.outages
                problem = await self._follow(found)
                delay = FIRST_RETRY if self.outages > outages else delay
            else:
                problem = found
            if problem != self.problem:
                self.problem = problem
                self._tell(None)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._retry)

    async def _follow(self, found: Found) -> str:
        """Follows the events of one that was found; returns why that ended."""
        source = EventSource(found)
        seen = False
        try:
            async with Feed(source, len, name="docker-events") as feed, asyncio.TaskGroup() as group:
                self._events = feed
                pings = group.create_task(self._ping(found, feed))
                try:
                    while batch := await feed.get():
                        if not seen:
                            seen = True
                            self._arrived(found)
                        for event in batch:
                            self._heard(event, found)
                finally:
                    pings.cancel()
        except* Exception as group_error:
            for error in group_error.exceptions:
                logger.info("the events of the engine ended", extra={"error": str(error)})
        finally:
            self._events = None
            self._up.clear()
            if not self._lost.done():
                self._lost.set_result(None)
        found.api.close()
        if seen:
            self.outages += 1
            logger.warning("the container engine is gone", extra={"address": found.address})
            return f"the engine at {found.address} went away; looking for it"
        return f"the engine at {found.address} tells no events"

    def _arrived(self, found: Found) -> None:
        self._found, self.info, self.problem = found, found.info, ""
        self._lost = asyncio.get_running_loop().create_future()
        self._up.set()
        logger.info("found the container engine", extra={"address": found.address, "version": found.info.version})
        self._tell(None)

    def _heard(self, event: dict[str, Any], found: Found) -> None:
        if event.get("Type") == "container":
            self._tell(happened(event))
        elif event.get("Type") == "network":
            found.doubted.set()

    def _tell(self, event: ContainerEvent | None) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    async def _ping(self, found: Found, feed: Feed[Any]) -> None:
        """Closes the feed when the engine no longer answers; asks for its facts anew when they may be others."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY):
                    await found.doubted.wait()
            doubted = found.doubted.is_set()
            found.doubted.clear()
            try:
                async with asyncio.timeout(2 * LOOK_TIMEOUT):
                    info = await self._workers.submit(partial(_sign_of_life, found.api, doubted))
            except Exception as error:  # whatever it is, it is no answer
                logger.warning("the container engine does not answer", extra={"error": str(error)})
                feed.close()
                return
            if info is not None:
                self.info = info
                self._tell(None)


def _sign_of_life(api: Any, whole: bool) -> EngineInfo | None:
    if whole:
        return engine_info(api.info(), api.version(), api.networks())
    answer = api.get(api._url("/_ping", versioned_api=False), timeout=LOOK_TIMEOUT)
    answer.raise_for_status()
    return None


class EventSource:
    """The events of an engine from the moment it was asked, as its own documents; an empty one when they begin."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._body = Body()

    def batches(self) -> Iterator[Sequence[dict[str, Any]]]:
        """In a thread."""
        api = self._found.api
        query = {"filters": _FILTERS}
        if self._found.asked_at:
            query["since"] = f"{self._found.asked_at:.6f}"
        url = api._url("/events")
        pending = b""
        for data in self._body.read(lambda: api.get(url, params=query, stream=True, timeout=(LOOK_TIMEOUT, None))):
            if data is None:
                yield [{}]
                continue
            *lines, pending = (pending + data).split(b"\n")
            if events := [json.loads(line) for line in lines if line.strip()]:
                yield events

    def stop(self) -> None:
        """From any thread."""
        self._body.stop()
