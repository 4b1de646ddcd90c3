"""What the console costs does not grow with the fleet: measured in ways that a busy machine does not change."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gamenode_console.model.world import World
from support.desk import console, filled_world, node
from support.measured_terminal import MeasuredTerminal, Spent

SMALL, LARGE = 100, 10_000
SECONDS = 2.0


class Lines:
    """Counts the lines of Python that are run."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Lines:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.count += event == "line"
        return self._trace


def fleet(count: int) -> World:
    world = filled_world()
    world.put_nodes([node(f"node-{n:05}", region="eu") for n in range(count)], snapshot=True)
    return world


@pytest.mark.parametrize("view", ["fleet", "nodes"])
async def test_a_beat_is_as_long_for_a_large_fleet(tmp_path: Path, view: str) -> None:
    lines = {}
    for count in (SMALL, LARGE):
        world = fleet(count)
        app = console(tmp_path, world=world)
        async with app.run_test(size=(120, 40)) as pilot:
            app.action_view(view)
            await pilot.pause()
            app.beat()
            await pilot.pause()
            world.put_nodes([node(f"node-{n:05}", cpu=77.0, region="eu") for n in range(20)])
            with Lines() as run:
                app.beat()
                app.screen._compositor.render_partial_update()
            lines[count] = run.count
    assert lines[SMALL] > 100, "something was counted"
    assert lines[LARGE] < 1.5 * lines[SMALL]


async def test_what_comes_while_the_screen_is_frozen_does_not_pile_up(tmp_path: Path) -> None:
    world = fleet(3)
    app = console(tmp_path, world=world)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("p")
        world.put_nodes([node("node-00001", cpu=99.0), node("late")], removed=["id-node-00002"])
        app.beat()
        assert not world.take().any
        table = app.shown_view.query_one("#nodes")  # type: ignore[union-attr]
        assert "id-late" not in table.model.rows  # type: ignore[attr-defined]
        await pilot.press("p")
        app.beat()
        assert {"id-late", "id-node-00001"} <= set(table.model.rows)  # type: ignore[attr-defined]
        assert "id-node-00002" not in table.model.rows  # type: ignore[attr-defined]


# -- the real program, in a real terminal, before a real server -------------------------------------------------------


@contextmanager
def served(folder: Path, nodes: int, rate: int) -> Iterator[dict[str, str]]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", "support.simulated_fleet", "--data-dir", str(folder / "server")]
    server = subprocess.Popen(
        [*argv, "--nodes", str(nodes), "--rate", str(rate)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield env
    finally:
        server.communicate(timeout=30)


def spent(folder: Path, nodes: int) -> Spent:
    with served(folder, nodes, rate=nodes // 5) as env:
        argv = [sys.executable, "-m", "gamenode_console.program", "--data-dir", str(folder / "server")]
        with MeasuredTerminal(argv, env=env) as terminal:
            terminal.shows("node-0")
            terminal.shows("attached")
            terminal.spent(0.5)
            return terminal.spent(SECONDS)


async def test_ten_thousand_nodes_are_no_more_for_a_terminal_than_a_hundred(tmp_path: Path) -> None:
    small = await asyncio.to_thread(spent, tmp_path / "small", SMALL)
    large = await asyncio.to_thread(spent, tmp_path / "large", LARGE)
    assert small.written, "ages move"
    assert large.kb_per_s < 20
    assert large.written < 2 * small.written + 4_000
    # 2,000 updates a second come with the large one, 20 with the other.
    assert large.processor < 5 * small.processor + 0.3 * SECONDS
