"""Keeps the world as the server tells it: streams that go on through lost connections, for as long as the console.

A server that went away may come back elsewhere, so where it is gets looked up anew each time. What is on its way when
the connection is lost is not cut off: calls that may be repeated find the server that takes over.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import NoReturn

from gamenode_console import discovery
from gamenode_console.core.thread import CoreThread, first_of
from gamenode_console.gateway import Gateway, open_gateway
from gamenode_console.gateway.link import AGAIN
from gamenode_console.model.world import LinkState, World
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.backoff import delays
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1.administration_pb2 import WhoAmIResponse

#: Seconds between two looks at what needs attention.
STATUS_EVERY = 2.0
#: Events that are asked for at first, as an age in seconds.
EVENTS_SINCE = 3600.0
#: Seconds in which a server that is there answers.
ANSWER = 1.0
#: A connection that has held for so many seconds is a good one: trying again begins with short pauses.
HELD = 5.0
_BASE, _CAP = 0.2, 2.0

Find = Callable[[], discovery.AnyTarget]


async def keep_filled(core: CoreThread, world: World, find: Find, *, clock: Clock, embedded: bool = False) -> NoReturn:
    """Connects, fills the world, connects again; until cancelled. `find` says where the server is, or raises."""
    filling = _Filling(core, world, find, clock, embedded)
    while True:
        try:
            await filling.one_server(find())
        except GameNodeError as error:
            await filling.lost(error.message)


class _Filling:
    """The world, and the streams that fill it."""

    def __init__(self, core: CoreThread, world: World, find: Find, clock: Clock, embedded: bool) -> None:
        self._core = core
        self._world = world
        self._find = find
        self._clock = clock
        self._embedded = embedded
        self._pauses = delays(random.random, base=_BASE, cap=_CAP)

    async def one_server(self, target: discovery.AnyTarget) -> None:
        """Fills the world from the server there, through all its restarts; returns when it has moved."""
        broken = asyncio.Event()
        why = ""

        def notify(text: str) -> None:
            nonlocal why
            if text != AGAIN:
                why = text
                broken.set()

        async with open_gateway(target, notify=notify, patience=math.inf) as gateway:
            while True:
                broken.clear()
                who = await self._reach(gateway, target, why)
                if who is None:
                    return
                self._live(gateway, who)
                since = self._clock.now()
                await self._fill_until(broken, gateway)
                if self._clock.now() - since >= HELD:
                    self._pauses = delays(random.random, base=_BASE, cap=_CAP)

    async def lost(self, problem: str) -> None:
        """Nothing can be asked now, because of `problem`; waits a moment."""
        self._core.connected(None, problem)
        state = LinkState.LOST if self._world.nodes_known else LinkState.CONNECTING
        self._world.set_link(state=state, since=self._clock.now(), text=problem.partition("\n")[0])
        await asyncio.sleep(next(self._pauses))

    async def _reach(self, gateway: Gateway, target: discovery.AnyTarget, why: str) -> WhoAmIResponse | None:
        """What the server says once it answers, however long that takes; None where it is somewhere else now."""
        while True:
            try:
                if _address(self._find()) != _address(target):
                    return None
                async with asyncio.timeout(ANSWER):
                    return await gateway.administration.who_am_i()
            except TimeoutError:
                problem = GameNodeError(Code.DISCONNECTED, why or "the server does not answer")
            except GameNodeError as error:
                problem = error
            if isinstance(target, discovery.Target):
                problem = discovery.explain_lost(target, problem)
            await self.lost(problem.message)

    def _live(self, gateway: Gateway, who: WhoAmIResponse) -> None:
        self._core.connected(gateway)
        self._world.set_link(
            state=LinkState.LIVE,
            since=self._clock.now(),
            text="",
            server_version=who.server_version,
            cluster_id=who.cluster_id,
            principal=who.principal,
            role=who.role,
            embedded=self._embedded,
        )

    async def _fill_until(self, broken: asyncio.Event, gateway: Gateway) -> None:
        """Fills the world until a stream has broken. Raises the GameNodeError of a stream that cannot go on."""
        feeds = (self._nodes, self._runs, self._events, self._status)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(feed(gateway)) for feed in feeds]
                await broken.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            refused, rest = errors.split(GameNodeError)
            if rest is not None or refused is None:
                raise
            raise first_of(refused) from None

    async def _nodes(self, gateway: Gateway) -> None:
        async for update in gateway.state.watch_nodes():
            self._world.put_nodes(update.nodes, update.removed, snapshot=update.snapshot)

    async def _runs(self, gateway: Gateway) -> None:
        async for update in gateway.pipelines.watch_runs():
            self._world.put_runs(update.runs, update.removed, snapshot=update.snapshot)

    async def _events(self, gateway: Gateway) -> None:
        known = self._world.events[-1].cursor if self._world.events else 0
        since = 0.0 if known else self._clock.now() - EVENTS_SINCE
        async for batch in gateway.state.watch_events(after=known, since=since, follow=True):
            self._world.put_events(batch.events, resync=batch.resync)

    async def _status(self, gateway: Gateway) -> None:
        while True:
            try:
                self._world.put_status(await gateway.state.status())
            except GameNodeError as error:
                if error.code not in (Code.TIMEOUT, Code.LIMIT_EXCEEDED, Code.DISCONNECTED):
                    raise
            await asyncio.sleep(STATUS_EVERY)


def _address(target: discovery.AnyTarget) -> object:
    """Where a server is; the one that takes over on the same socket is the same one."""
    return target.control_socket if isinstance(target, discovery.Target) else (target.address, target.credentials)
