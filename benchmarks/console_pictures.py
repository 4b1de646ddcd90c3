"""Pictures of the console's views: the real application on a real cluster, drawn into a file instead of a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from gamenode_console.app import ConsoleApp
from gamenode_console.core.life import Life, Wanted
from gamenode_console.core.thread import CoreThread
from gamenode_console.discovery import Place
from gamenode_console.model.world import World
from gamenode_console.options import Farewell, Options
from gamenode_proto.process.clock import SystemClock
from support import screenshots
from support.cluster import Cluster
from support.waiting import until

SIZE = (110, 30)


@asynccontextmanager
async def opened(cluster: Cluster, state_dir: Path) -> AsyncIterator[Pilot[Farewell]]:
    """The console attached to a cluster's server, with a hand at its keys."""
    world, clock = World(), SystemClock()
    wanted = Wanted(Place(cluster.data_dir, "--data-dir"), cluster.env, {}, False, ())
    core = CoreThread(Life(wanted, world, clock=clock))
    app = ConsoleApp(core, world, clock=clock, options=Options(state_dir=state_dir), started=core.start)
    try:
        async with app.run_test(size=SIZE) as pilot:
            yield pilot
    finally:
        core.stop(5.0)


async def when(pilot: Pilot[Farewell], holds: Callable[[str], bool], what: str) -> None:
    """Waits for the screen to show something."""

    async def look() -> bool:
        await pilot.pause()
        return holds(screenshots.text(pilot.app))

    await until(look, what=what)
