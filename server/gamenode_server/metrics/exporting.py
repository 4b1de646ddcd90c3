"""Puts the metrics of a running server together: counters that follow its events, gauges that ask its loop, a door."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import TimeoutError as LoopTimeout
from contextlib import asynccontextmanager
from pathlib import Path

from gamenode_server.core import Core
from gamenode_server.metrics.snapshot import Snapshot, take_snapshot
from gamenode_server.notifiers.notifying import Notifying
from gamenode_server.rpc.interceptor import LiveCalls

#: Seconds for which a scrape waits for the loop.
LOOP_PATIENCE = 5.0
#: Seconds for which a snapshot is good: many scrapers cost what one does.
FRESH = 0.5


@asynccontextmanager
async def metrics_served(
    core: Core, live: LiveCalls, notifying: Notifying, *, address: str, database: Path, most_nodes: int
) -> AsyncIterator[str]:
    """Serves metrics for as long as the `async with`; yields where, or '' where `address` is empty.

    Raises GameNodeError that names an address that cannot be had.
    """
    if not address:
        yield ""
        return
    from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics

    from gamenode_server.metrics.counting import Counting
    from gamenode_server.metrics.gauges import Gauges
    from gamenode_server.metrics.serving import metrics_server

    # The moment at which each series began would double their number.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    counting = Counting(registry, kind_of=_kinds(core), now=core.clock.now)
    core.store.time_commits(counting.observe_commit)
    asking = _Asking(asyncio.get_running_loop(), lambda: take_snapshot(core, live, notifying, most_nodes=most_nodes))
    registry.register(Gauges(asking.snapshot, database=database))
    ProcessCollector(registry=registry)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(counting.follow(core.hub))
        try:
            with metrics_server(address, registry) as bound:
                yield bound
        finally:
            asking.stop()
            following.cancel()


class _Asking:
    """Has the loop take a snapshot for another thread, at most one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[], Snapshot]) -> None:
        self._loop = loop
        self._take = take
        self._lock = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None
        self._stopped = False

    def snapshot(self) -> Snapshot:
        """A fresh snapshot. Raises TimeoutError where the loop is too busy, or has stopped."""
        with self._lock:
            if self._last is not None and self._loop.time() - self._last[0] < FRESH:
                return self._last[1]
            if self._stopped:
                raise LoopTimeout("the server stops")
            snapshot = asyncio.run_coroutine_threadsafe(self._taken(), self._loop).result(LOOP_PATIENCE)
            self._last = self._loop.time(), snapshot
            return snapshot

    def stop(self) -> None:
        """Nobody is to wait for the loop any more."""
        self._stopped = True

    async def _taken(self) -> Snapshot:
        return self._take()


def _kinds(core: Core) -> Callable[[str, str], str]:
    def kind_of(run_id: str, step_id: str) -> str:
        run = core.store.view.run(run_id)
        plan = core.plans.known(run.bundle_digest) if run is not None else None
        if plan is None:
            return ""
        return next((step.kind for step in (*plan.steps, *plan.finally_) if step.id == step_id), "")

    return kind_of
