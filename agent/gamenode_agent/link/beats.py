"""The heartbeats of one session: when the next one is due, and what it carries. Knows neither host nor containers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

from gamenode_agent.outbox import Outbox
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1.agent_link_pb2 import Config, Heartbeat, Hello
from gamenode_proto.v1.nodes_pb2 import Metrics

#: What a server that names no interval gets.
HEARTBEAT_INTERVAL = 5.0
METRICS_INTERVAL = 15.0
#: News do not wait for the next beat, but for this long after the last one: many changes share a frame.
NEWS_GAP = 0.5


class News(Protocol):
    """What the server hears of this host. Nothing here fails; what is not known is left out."""

    @property
    def changed(self) -> asyncio.Event:
        """Set while there is something that the next beat should not wait for."""
        ...

    def begin(self, hello: Hello) -> None:
        """Puts all there is into a hello: what is told from then on is what has changed since."""
        ...

    async def sample(self, now: float) -> Metrics:
        """Looks at the host and what runs on it; takes milliseconds."""
        ...

    def add(self, beat: Heartbeat) -> None:
        """Puts what has changed since it was last told into a heartbeat, and clears `changed`."""
        ...


class Beats:
    """The heartbeats of one session."""

    def __init__(self, news: News, *, clock: Clock, outbox: Outbox, tasks_running: Callable[[], int]) -> None:
        self.interval = HEARTBEAT_INTERVAL
        self._metrics_interval = METRICS_INTERVAL
        self._news = news
        self._clock = clock
        self._outbox = outbox
        self._tasks_running = tasks_running

    def take_config(self, config: Config) -> None:
        """The server says how often."""
        self.interval = config.heartbeat_interval or self.interval
        self._metrics_interval = config.metrics_interval or self._metrics_interval

    async def run(self, write: Callable[[Heartbeat], Awaitable[None]]) -> NoReturn:
        """Beats until cancelled."""
        loop = asyncio.get_running_loop()
        seq = 0
        metrics_at = loop.time()
        while True:
            seq += 1
            beat = Heartbeat(seq=seq, tasks_running=self._tasks_running(), outbox_depth=self._outbox.depth)
            if loop.time() >= metrics_at:
                metrics_at = loop.time() + self._metrics_interval - 0.01
                beat.metrics.CopyFrom(await self._news.sample(self._clock.now()))
            beat.now = self._clock.now()
            self._news.add(beat)
            await write(beat)
            await self._rest()

    async def _rest(self) -> None:
        """Until the next beat is due: an interval, or less where there is news."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(began + self.interval):
                await self._news.changed.wait()
                await asyncio.sleep(began + NEWS_GAP - loop.time())
        except TimeoutError:
            return
