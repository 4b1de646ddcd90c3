"""Pictures of the console's views: the real application on a real cluster, drawn into a file instead of a terminal."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from textual.pilot import Pilot

from gamenode_console.app import ConsoleApp
from gamenode_console.core.life import Life, Wanted
from gamenode_console.core.thread import CoreThread
from gamenode_console.discovery import Place
from gamenode_console.model.world import World
from gamenode_console.options import Farewell, Options
from gamenode_proto.process.clock import SystemClock
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


def screen_text(pilot: Pilot[Farewell]) -> str:
    """What is on the screen, without colours."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def when(pilot: Pilot[Farewell], holds: Callable[[str], bool], what: str) -> None:
    """Waits for the screen to show something."""

    async def look() -> bool:
        await pilot.pause()
        return holds(screen_text(pilot))

    await until(look, what=what)


def drawn(pilot: Pilot[Farewell], name: str, title: str, code_format: str) -> str:
    """The screen as an SVG document."""
    width, height = SIZE
    console = Console(
        record=True,
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    update = pilot.app.screen._compositor.render_update(full=True)
    console.print(update)
    return console.export_svg(title=title, code_format=code_format, unique_id=name)
