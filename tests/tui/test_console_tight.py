"""What the console writes to its terminal: enough that the screen is right, and little more than what has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyte
import pytest
from textual._compositor import ChopsUpdate, CompositorUpdate

from gamenode_console.app import ConsoleApp
from support.desk import console, filled_world, node

SIZE = (100, 30)


class Written:
    """The terminal as it would look, and the bytes of every update of parts."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._screen = pyte.Screen(*SIZE)
        self._stream = pyte.Stream(self._screen)
        self.parts: list[str] = []

    def take(self, _screen: Any, update: Any) -> None:
        if isinstance(update, CompositorUpdate):
            text = update.render_segments(self._app.console)
            # A screen that is written as a whole ends its lines as Textual's driver would.
            self._stream.feed(text.replace("\n", "\r\n"))
            if isinstance(update, ChopsUpdate):
                self.parts.append(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]


def lines_of(app: ConsoleApp) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


async def test_the_terminal_shows_what_was_drawn_though_only_parts_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled_world()
    app = console(tmp_path, world=world)
    written = Written(app)
    monkeypatch.setattr(app, "_display", written.take)
    async with app.run_test(size=SIZE) as pilot:
        app.screen.refresh(layout=True)
        await pilot.pause()
        for cpu in (11.0, 55.0, 99.0):
            for key in ("j", "k", "w", "w"):
                world.put_nodes([node("us-1", cpu=cpu, region="us"), node(f"new-{cpu:.0f}-{key}")])
                app.beat()
                await pilot.press(key)
                await pilot.pause()
        assert written.parts, "this is about updates of parts"
        assert written.lines == lines_of(app)


async def test_a_cell_costs_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = filled_world()
    app = console(tmp_path, world=world)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        written = Written(app)
        monkeypatch.setattr(app, "_display", written.take)
        moved = node("us-1", cpu=97.0, region="us")
        moved.tasks_running = 7
        world.put_nodes([moved])
        app.beat()
        await pilot.pause()
        assert "7" in "".join(written.parts)
        assert "us-1" not in "".join(written.parts), "the name is on the screen already"
