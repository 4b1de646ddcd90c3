"""Every container of this host, as the engine shows them: kept true by its events, told to the server by differences.

Each change costs one look at one container; only where events may have been missed is everything listed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

from gamenode_agent.containers.naming import is_own
from gamenode_agent.containers.shown import shown, usage_of
from gamenode_agent.engines.containers import Container, ContainerEngine, ContainerEvent, Usage
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import nodes_pb2
from gamenode_proto.v1.nodes_pb2 import ContainerReport

logger = logging.getLogger(__name__)

#: The server is told of so many; this cluster's own come first, then the newest.
MOST = 1000
#: With more containers changed than this, listing all costs less than looking at each.
MANY = 64
#: What the use of all containers may take to find out, seconds; a heartbeat waits for it.
MEASURE_LIMIT = 1.0
#: Pause after the engine could not be asked though it is there.
RETRY = 1.0

#: Events that change what is shown. The others are many: every health check is three of them.
_CHANGES = frozenset({"create", "start", "die", "oom", "rename", "pause", "unpause", "update", "restart", "stop"})


class Inventory:
    """The containers of one host. Everything on one loop."""

    def __init__(
        self, engine: ContainerEngine | None, *, cluster_id: str, restarts: Callable[[str], int] = lambda _id: 0
    ) -> None:
        #: Called when there is something to tell.
        self.on_change: Callable[[], None] = lambda: None
        self._engine = engine
        self._cluster_id = cluster_id
        self._restarts = restarts
        self._known: dict[str, Container] = {}
        self._usage: dict[str, nodes_pb2.ContainerUsage] = {}
        self._cpu: dict[str, tuple[float, float]] = {}
        #: Whether everything has been listed once. Without an engine there is nothing to list.
        self._listed = engine is None
        self._dirty: set[str] = set()
        #: Removed since the last look began: what it found may be older.
        self._removed: set[str] = set()
        self._all_dirty = True
        self._wake = asyncio.Event()
        # What the server at the other end has.
        self._told: set[str] = set()
        self._changed: set[str] = set()
        self._measured = False
        self._complete_due = True

    @property
    def counts(self) -> tuple[int, int]:
        """How many run, and how many there are."""
        return sum(1 for each in self._known.values() if each.running), len(self._known)

    def heard(self, event: ContainerEvent | None) -> None:
        """What the engine's subscription tells: an event, or that some may have been missed."""
        if event is None:
            self._all_dirty = True
        elif event.action == "destroy":
            self._dirty.discard(event.id)
            self._removed.add(event.id)
            self._gone(event.id)
            return
        elif event.action in _CHANGES or event.action.startswith("health_status"):
            self._dirty.add(event.id)
        else:
            return
        self._wake.set()

    def touch(self, container_id: str) -> None:
        """The agent itself has changed something of it, e.g. how often it was started again."""
        if container_id in self._known:
            self._mark(container_id)

    async def run(self) -> NoReturn:
        """Looks at what has changed, until cancelled."""
        if self._engine is None:
            await asyncio.Event().wait()
            raise AssertionError
        engine = self._engine
        while True:
            while not (engine.available and (self._all_dirty or self._dirty)):
                self._wake.clear()
                await self._wake.wait()
            try:
                if self._all_dirty or len(self._dirty) > MANY:
                    await self._list(engine)
                else:
                    await self._look(engine, self._dirty.pop())
            except GameNodeError as error:
                # An engine that has gone away says so by an event, and when it is back everything is listed.
                logger.debug("the containers cannot be listed: %s", error.message)
                self._all_dirty = True
                await asyncio.sleep(RETRY)
            except Exception:  # an engine that answers oddly is no reason to end the agent
                logger.exception("the containers cannot be listed")
                self._all_dirty = True
                await asyncio.sleep(RETRY)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def _list(self, engine: ContainerEngine) -> None:
        self._all_dirty = False
        self._dirty.clear()
        self._removed.clear()
        found = {each.id: each for each in await engine.containers()}
        for gone in self._known.keys() - found.keys():
            self._gone(gone)
        for each in found.values():
            # A list leaves out how one ended, and whether it is well: that is known of our own.
            if is_own(each, self._cluster_id):
                self._dirty.add(each.id)
            else:
                self._take(each)
        while self._dirty and not self._all_dirty:
            await self._look(engine, self._dirty.pop())
        self._listed = True
        self._complete_due = True
        self.on_change()

    async def _look(self, engine: ContainerEngine, container_id: str) -> None:
        self._removed.clear()
        found = await engine.inspect(container_id)
        if found is None:
            self._gone(container_id)
        else:
            self._take(found)

    def _take(self, found: Container) -> None:
        if found.id in self._removed or self._known.get(found.id) == found:
            return
        self._known[found.id] = found
        if not found.running:
            self._usage.pop(found.id, None)
            self._cpu.pop(found.id, None)
        self._mark(found.id)

    def _gone(self, container_id: str) -> None:
        if self._known.pop(container_id, None) is not None:
            self._usage.pop(container_id, None)
            self._cpu.pop(container_id, None)
            self._mark(container_id)

    def _mark(self, container_id: str) -> None:
        self._changed.add(container_id)
        if self._listed:
            self.on_change()

    # -- measuring -----------------------------------------------------------------------------------------------------

    async def measure(self, now: float) -> None:
        """Samples what the containers that run use. `now` in Unix seconds, for the figures' time."""
        engine = self._engine
        running = [self._known[each] for each in self._selected() if self._known[each].running]
        if engine is None or not engine.available or not running:
            return
        moment = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(MEASURE_LIMIT):
                used = await engine.usage(running)
        except (TimeoutError, GameNodeError) as error:
            logger.debug("what the containers use cannot be found out: %s", error)
            return
        self._note_usage(running, used, moment, now)

    def _note_usage(self, running: list[Container], used: Mapping[str, Usage], moment: float, now: float) -> None:
        for each in running:
            figures = used.get(each.id)
            if figures is None or each.id not in self._known:
                continue
            before = self._cpu.get(each.id)
            self._cpu[each.id] = (moment, figures.cpu_seconds)
            # Without an earlier sample: the mean since it began.
            elapsed, seconds = now - each.started_at if each.started_at else 0.0, figures.cpu_seconds
            if before is not None and figures.cpu_seconds >= before[1]:
                elapsed, seconds = moment - before[0], figures.cpu_seconds - before[1]
            percent = 100.0 * seconds / elapsed if elapsed > 0 else 0.0
            self._usage[each.id] = usage_of(each, figures, percent, now)
        self._measured = True

    # -- telling -------------------------------------------------------------------------------------------------------

    def everything(self) -> ContainerReport | None:
        """All there is, for a new session; None until it is known."""
        self._complete_due = True
        if not self._listed:
            return None
        chosen = self._selected()
        self._told, self._complete_due, self._measured = set(chosen), False, False
        self._changed.clear()
        return ContainerReport(complete=True, containers=map(self._shown, chosen))

    def changes(self) -> ContainerReport | None:
        """What was not told yet; None where there is nothing."""
        if self._complete_due:
            return self.everything()
        chosen = set(self._selected())
        fresh = (chosen - self._told) | (self._changed & chosen)
        removed = self._told - chosen
        usage = []
        if self._measured:
            usage = [figures for each, figures in self._usage.items() if each in chosen and each not in fresh]
        self._told, self._measured = chosen, False
        self._changed.clear()
        if not (fresh or removed or usage):
            return None
        return ContainerReport(
            containers=[self._shown(each) for each in sorted(fresh)], removed=sorted(removed), usage=usage
        )

    def _selected(self) -> list[str]:
        if len(self._known) <= MOST:
            return list(self._known)
        ranked = sorted(
            self._known.values(), key=lambda each: (not is_own(each, self._cluster_id), -each.created_at, each.id)
        )
        return [each.id for each in ranked[:MOST]]

    def _shown(self, container_id: str) -> nodes_pb2.Container:
        container = self._known[container_id]
        return shown(
            container,
            own=is_own(container, self._cluster_id),
            restarts=self._restarts(container_id),
            usage=self._usage.get(container_id),
        )
