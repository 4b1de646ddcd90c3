"""The core's life: a server is found or started, with an agent where one was asked for, and the world kept filled.

Never gives up: whatever goes wrong is shown and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from gamenode_console import discovery, embedded, machine
from gamenode_console.core.thread import CoreThread, first_of
from gamenode_console.model.world import LinkState, World
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.backoff import delays
from gamenode_proto.process.clock import Clock

logger = logging.getLogger(__name__)

_BASE, _CAP = 0.5, 5.0
#: Seconds after which what went wrong has nothing to do with what went wrong before.
_HELD = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which server, and what with it."""

    where: discovery.Place | discovery.NetworkTarget
    env: Mapping[str, str]
    #: Settings for a server of its own, as flags.
    server_flags: Mapping[str, Any] = field(default_factory=dict)
    with_agent: bool = False
    #: The agent's `--config FILE`.
    config: tuple[str, ...] = ()


class Life:
    """What the core does from its start to its end; made for one `CoreThread`."""

    def __init__(self, wanted: Wanted, world: World, *, clock: Clock) -> None:
        self._wanted = wanted
        self._world = world
        self._clock = clock
        self._agent_started = False
        #: Marks the server of this process as stopped for good; None: it is another process's. From any thread.
        self.stop_for_good: Callable[[], None] | None = None

    async def __call__(self, core: CoreThread) -> NoReturn:
        """Goes on until it is cancelled."""
        pauses = delays(random.random, base=_BASE, cap=_CAP)
        while True:
            began = self._clock.now()
            try:
                await self._once(core)
            except GameNodeError as error:
                problem = error.message
            except Exception as error:  # also a group: an embedded server that broke, after which its standby serves
                found = first_of(error)
                logger.error("the core begins anew", exc_info=error)
                problem = found.message if isinstance(found, GameNodeError) else f"{type(found).__name__}: {found}"
            core.connected(None, problem)
            self._say(problem.splitlines()[0] if problem else "")
            if self._clock.now() - began >= _HELD:
                pauses = delays(random.random, base=_BASE, cap=_CAP)
            await asyncio.sleep(next(pauses))

    async def _once(self, core: CoreThread) -> None:
        where = self._wanted.where
        if isinstance(where, discovery.NetworkTarget):
            await self._fill(core, lambda: where, embedded=False)
            return
        async with embedded.serving(
            where, flags=self._wanted.server_flags, env=self._wanted.env, say=self._say
        ) as server:
            self.stop_for_good = server.stop_for_good if server else None
            if server is None and self._wanted.server_flags.get("listen"):
                logger.warning("the server on %s runs already: it goes on listening as it does", where.data_dir)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(
                        self._fill(core, lambda: discovery.find_target(where), embedded=server is not None)
                    )
                    if self._wanted.with_agent and not self._agent_started:
                        group.create_task(self._start_agent(where.data_dir, where))
            finally:
                core.connected(None, "the console ends")

    async def _fill(self, core: CoreThread, find: Callable[[], discovery.AnyTarget], *, embedded: bool) -> None:
        from gamenode_console.core.feeds import keep_filled

        await keep_filled(core, self._world, find, clock=self._clock, embedded=embedded)

    async def _start_agent(self, data_dir: Path, place: discovery.Place) -> None:
        """Starts this machine's agent; what speaks against it is told, and the console goes on without."""
        from gamenode_console.gateway import open_gateway

        try:
            async with open_gateway(discovery.find_target(place)) as gateway:
                await machine.start_agent(gateway, data_dir, config=self._wanted.config, say=self._note)
            self._agent_started = True
        except GameNodeError as error:
            logger.error("no agent for this machine: %s", error.message)
            self._world.set_link(text=error.message.splitlines()[0])

    def _note(self, text: str, done: bool) -> None:
        logger.info("%s", text)

    def _say(self, text: str) -> None:
        state = LinkState.LOST if self._world.nodes_known else LinkState.CONNECTING
        self._world.set_link(state=state, since=self._clock.now(), text=text)
