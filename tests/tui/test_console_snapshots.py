"""Pictures of the console's views, compared with those that were looked at and kept.

`make snapshots` takes them anew; what has changed is looked at before it is committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from gamenode_console.app import ConsoleApp
from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import BookState
from gamenode_console.model.world import LinkState, World
from gamenode_console.screens.run import RunDetail
from gamenode_console.widgets.logpane import LogPane
from support.desk import NOW, console, filled_world
from support.screenshots import Svg, svg
from support.views import Answers, run_update, some_events
from support.waiting import until

SIZES = [(60, 18), (80, 24), (120, 40), (200, 60)]
LOOKS = {"dark": "textual-dark", "light": "textual-light", "sixteen-colours": "ansi-dark", "no-colour": "ansi-dark"}


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Svg)


def _world() -> World:
    world = filled_world()
    world.put_events(some_events())
    return world


def _app(tmp_path: Path, **options: Any) -> ConsoleApp:
    return console(tmp_path, world=options.pop("world", None) or _world(), gateway=Answers(), **options)


async def _press(pilot: Pilot[Any], *keys: str) -> None:
    """Presses keys, each of which is answered before the next."""
    await _settled(pilot)
    for key in keys:
        await pilot.press(key)
        await _settled(pilot)


async def _settled(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, ConsoleApp)

    async def ready() -> bool:
        await pilot.pause()
        return (view := app.shown_view) is not None and view.ready

    await until(ready, what="the view")
    for _ in range(2):
        app.beat()
        await pilot.pause()
        await app.workers.wait_for_complete()


def _drawn(app: ConsoleApp) -> str:
    return svg(app, name="screen", title="gamenode-console")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("look", LOOKS)
async def test_fleet(
    tmp_path: Path, picture: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], look: str
) -> None:
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    app = _app(tmp_path, theme=LOOKS[look])
    async with app.run_test(size=size) as pilot:
        await _settled(pilot)
        assert _drawn(app) == picture


async def test_fleet_in_ascii(tmp_path: Path, picture: SnapshotAssertion) -> None:
    app = _app(tmp_path, utf8=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await _settled(pilot)
        assert _drawn(app) == picture


async def test_fleet_without_a_server(tmp_path: Path, picture: SnapshotAssertion) -> None:
    app = _app(tmp_path, world=World())
    async with app.run_test(size=(80, 24)) as pilot:
        await _settled(pilot)
        assert _drawn(app) == picture


async def test_fleet_whose_server_is_lost(tmp_path: Path, picture: SnapshotAssertion) -> None:
    world = _world()
    world.set_link(state=LinkState.LOST, since=NOW - 12, text="connection refused")
    app = _app(tmp_path, world=world)
    async with app.run_test(size=(80, 24)) as pilot:
        await _settled(pilot)
        assert _drawn(app) == picture


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(["2"], id="nodes"),
        pytest.param(["2", "slash", *"us", "enter"], id="nodes-filtered"),
        pytest.param(["2", "slash", *"xyz", "enter"], id="nodes-nothing-matches"),
        pytest.param(["2", "space", "space"], id="nodes-marked"),
        pytest.param(["2", "enter"], id="node"),
        pytest.param(["3"], id="pipelines"),
        pytest.param(["3", "down", "enter"], id="trigger"),
        pytest.param(["4"], id="runs"),
        pytest.param(["7"], id="events"),
        pytest.param(["2", "question_mark"], id="help"),
        pytest.param(["colon", *"cor"], id="command"),
        pytest.param(["4", "X"], id="cancel"),
        pytest.param(["Q"], id="quit"),
        pytest.param(["plus"], id="enrol"),
    ],
)
async def test_view(tmp_path: Path, picture: SnapshotAssertion, keys: list[str]) -> None:
    app = _app(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await _press(pilot, *keys)
        assert _drawn(app) == picture


async def test_run(tmp_path: Path, picture: SnapshotAssertion) -> None:
    app = _app(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        app.operations.open_run("aaaaaaaaaaaa")
        await _settled(pilot)
        view = app.shown_view
        assert isinstance(view, RunDetail)
        view._watched.put(run_update())
        await _settled(pilot)
        assert _drawn(app) == picture


async def test_log(tmp_path: Path, picture: SnapshotAssertion) -> None:
    app = _app(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        app.operations.open_log("aaaaaaaaaaaa")
        await _settled(pilot)
        assert app.shown_view is not None
        book = app.shown_view.query_one(LogPane).book
        book.say(BookState.FOLLOWING, NOW)
        for node, step, line in (
            ("eu-1", "pull", "pulled games/xonotic:0.8"),
            ("us-1", "install", "copying maps to /srv/maps"),
            ("us-1", "install", "error: no space left on device"),
            ("eu-1", "install", "\x1b[31mred\x1b[0m and 日本語 and a\ttab"),
        ):
            book.put(Origin(node, step, 1, 1), NOW, f"{line}\n".encode())
        await _settled(pilot)
        assert _drawn(app) == picture
