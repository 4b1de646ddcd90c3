"""Keeps the world as the server tells it: streams that go on through lost connections, for as long as the console.

A server that went away may come back elsewhere on the same data dir, so where it is gets looked up anew each time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import NoReturn

from gamenode_console import discovery
from gamenode_console.core.thread import CoreThread
from gamenode_console.gateway import Gateway, open_gateway
from gamenode_console.model.world import LinkState, World
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.backoff import delays
from gamenode_proto.process.clock import Clock

#: Seconds between two looks at what needs attention.
STATUS_EVERY = 2.0
#: Events that are asked for at first, as an age in seconds.
EVENTS_SINCE = 3600.0
#: A stream gives up after so long, and the server is looked for anew.
PATIENCE = 3.0
_BASE, _CAP = 0.2, 2.0


async def keep_filled(
    core: CoreThread, world: World, find: Callable[[], discovery.AnyTarget], *, clock: Clock, embedded: bool = False
) -> NoReturn:
    """Connects, fills the world, connects again; until cancelled. `find` says where the server is, or raises."""
    pauses = delays(random.random, base=_BASE, cap=_CAP)
    while True:
        since = clock.now()
        try:
            async with open_gateway(find(), patience=PATIENCE) as gateway:
                who = await gateway.administration.who_am_i()
                core.connected(gateway)
                world.set_link(
                    state=LinkState.LIVE,
                    since=clock.now(),
                    text="",
                    server_version=who.server_version,
                    cluster_id=who.cluster_id,
                    principal=who.principal,
                    role=who.role,
                    embedded=embedded,
                )
                pauses = delays(random.random, base=_BASE, cap=_CAP)
                since = 0.0
                await _fill(gateway, world, clock)
        except GameNodeError as error:
            problem = error
        except BaseExceptionGroup as errors:
            found = next((each for each in _leaves(errors) if isinstance(each, GameNodeError)), None)
            if found is None:
                raise
            problem = found
        core.connected(None, problem.message)
        lost = since or clock.now()
        first_line = problem.message.splitlines()[0]
        state = LinkState.LOST if world.nodes_known else LinkState.CONNECTING
        world.set_link(state=state, since=lost, text=first_line)
        await asyncio.sleep(next(pauses))


async def _fill(gateway: Gateway, world: World, clock: Clock) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_nodes(gateway, world))
        group.create_task(_runs(gateway, world))
        group.create_task(_events(gateway, world, clock))
        group.create_task(_status(gateway, world))


async def _nodes(gateway: Gateway, world: World) -> None:
    async for update in gateway.state.watch_nodes():
        world.put_nodes(update.nodes, update.removed, snapshot=update.snapshot)


async def _runs(gateway: Gateway, world: World) -> None:
    async for update in gateway.pipelines.watch_runs():
        world.put_runs(update.runs, update.removed, snapshot=update.snapshot)


async def _events(gateway: Gateway, world: World, clock: Clock) -> None:
    known = world.events[-1].cursor if world.events else 0
    since = 0.0 if known else clock.now() - EVENTS_SINCE
    async for batch in gateway.state.watch_events(after=known, since=since, follow=True):
        world.put_events(batch.events, resync=batch.resync)


async def _status(gateway: Gateway, world: World) -> None:
    while True:
        try:
            world.put_status(await gateway.state.status())
        except GameNodeError as error:
            if error.code not in (Code.TIMEOUT, Code.LIMIT_EXCEEDED):
                raise
        await asyncio.sleep(STATUS_EVERY)


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in errors.exceptions:
        found.extend(_leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    return found
