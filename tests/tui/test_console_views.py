"""The views over a world without a server: what they show, and what keys do to them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gamenode_console.app import ConsoleApp
from gamenode_console.loglines import Origin
from gamenode_console.model.logbook import BookState
from gamenode_console.model.world import LinkState, World
from gamenode_console.screens.confirm import Confirm
from gamenode_console.screens.help import Help
from gamenode_console.screens.leaving import Leaving
from gamenode_console.screens.logs import Logs
from gamenode_console.screens.run import RunDetail
from gamenode_console.widgets.logpane import LogPane
from gamenode_console.widgets.table import Table
from gamenode_proto.v1 import pipeline_management_pb2
from support.desk import NOW, FakeCore, console, filled_world, node


class Calls:
    """A gateway double that remembers what it was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        self.pipelines = SimpleNamespace(list=self._list, cancel=self._cancel)
        self.state = SimpleNamespace(set_admin_state=self._cordon, label_node=self._label)

    async def _list(self) -> list[pipeline_management_pb2.PipelineSummary]:
        pipeline = pipeline_management_pb2.Pipeline(name="hello", version=1, description="Say hello")
        return [pipeline_management_pb2.PipelineSummary(pipeline=pipeline)]

    async def _cancel(self, runs: list[str]) -> None:
        self.made.append(("cancel", *runs))

    async def _cordon(self, nodes: list[str], state: int) -> None:
        self.made.append(("cordon", *nodes, state))

    async def _label(self, node: str, *, set: dict[str, str], remove: list[str]) -> None:
        self.made.append(("label", node, set, remove))


def shown(app: ConsoleApp) -> str:
    """Everything that is on the screen, as text."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in lines[:height])[: (width + 1) * height]


async def settle(pilot: Any) -> None:
    pilot.app.beat()
    await pilot.pause()
    pilot.app.beat()
    await pilot.pause()


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 18)])
async def test_the_fleet_says_what_needs_a_person(tmp_path: Path, size: tuple[int, int]) -> None:
    app = console(tmp_path)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        text = shown(app)
        assert "! eu-2: offline" in text
        assert "deploy" in text
        assert text.index("eu-2", text.index("NAME")) < text.index("us-1"), "what is not well stands first"


async def test_digits_open_views_and_q_goes_back_to_a_question(tmp_path: Path) -> None:
    app = console(tmp_path, gateway=Calls())
    async with app.run_test(size=(100, 30)) as pilot:
        titles = []
        for key in "24173":
            await pilot.press(key)
            await settle(pilot)
            assert app.shown_view is not None
            titles.append(app.shown_view.title_text.split(" ")[0])
        assert titles == ["Nodes", "Runs", "Fleet", "Events", "Pipelines"]
        await pilot.press("q")
        assert isinstance(app.screen, Leaving)
        await pilot.press("escape")
        assert not isinstance(app.screen, Leaving)


async def test_a_filter_is_typed_at_once_and_taken_back(tmp_path: Path) -> None:
    app = console(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"region=eu", "enter")
        await settle(pilot)
        assert app.shown_view is not None
        assert app.shown_view.title_text == "Nodes 2 of 3 /region=eu"
        assert "us-1" not in shown(app)
        await pilot.press("escape")
        await settle(pilot)
        assert app.shown_view.title_text == "Nodes 3"


async def test_a_wrong_filter_is_told_and_keeps_what_was_listed(tmp_path: Path) -> None:
    app = console(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"~(")
        await settle(pilot)
        assert "is no regular expression" in shown(app)
        assert "us-1" in shown(app)


async def test_the_cursor_stays_with_its_node_when_others_come_and_go(tmp_path: Path) -> None:
    world = filled_world()
    app = console(tmp_path, world=world)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        table = app.screen.query_one(Table)
        await pilot.press("down", "down")
        assert table.model.cursor == "id-us-1"
        world.put_nodes([node(f"aa-{n}", state="OFFLINE") for n in range(5)], removed=["id-eu-1"])
        await settle(pilot)
        assert table.model.cursor == "id-us-1"


async def test_cancel_asks_with_what_it_reaches_and_no_is_the_safe_answer(tmp_path: Path) -> None:
    calls = Calls()
    app = console(tmp_path, gateway=calls)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("4")
        await settle(pilot)
        app.screen.query_one(Table).point_at("aaaaaaaaaaaa")
        await pilot.press("X")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        assert "2 succeeded, 1 running" in shown(app)
        await pilot.press("enter")
        await pilot.pause()
        assert calls.made == []
        await pilot.press("X")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        if app.screen.query("#typed"):
            await pilot.press("3", "enter")
        else:
            await pilot.press("y")
        await pilot.pause()
        await app.workers.wait_for_complete()
        assert calls.made == [("cancel", "aaaaaaaaaaaa")]


async def test_a_command_is_completed_and_done(tmp_path: Path) -> None:
    calls = Calls()
    app = console(tmp_path, gateway=calls)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"label eu-1 tier=gold old-", "enter")
        await pilot.pause()
        await app.workers.wait_for_complete()
        assert calls.made == [("label", "id-eu-1", {"tier": "gold"}, ["old"])]
        await pilot.press("colon", *"nods", "enter")
        await pilot.pause()
        assert "did you mean 'nodes'?" in shown(app)


async def test_a_read_only_console_changes_nothing(tmp_path: Path) -> None:
    calls = Calls()
    app = console(tmp_path, gateway=calls, read_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"cordon eu-1", "enter")
        await pilot.pause()
        assert "read-only" in shown(app)
        assert calls.made == []


async def test_help_has_the_keys_of_the_pane_first(tmp_path: Path) -> None:
    app = console(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        text = shown(app)
        assert text.index("Tables") < text.index("Everywhere") if "Everywhere" in text else "Tables" in text


async def test_a_lost_server_is_told_and_the_data_stays(tmp_path: Path) -> None:
    world = filled_world()
    app = console(tmp_path, world=world)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        world.set_link(state=LinkState.LOST, since=NOW - 12, text="connection refused")
        await settle(pilot)
        assert "server lost 12s, trying again" in shown(app)
        assert "eu-1" in shown(app)


async def test_nothing_known_yet_is_not_nothing_there(tmp_path: Path) -> None:
    app = console(tmp_path, world=World())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        assert "waiting for the server" in shown(app)


async def test_hostile_names_are_shown_inert(tmp_path: Path) -> None:
    world = World()
    world.put_nodes([node("\x1b[31mred[/red]"), node("[bold]x[/bold]")], snapshot=True)
    app = console(tmp_path, world=world)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        assert "␛[31mred[/red]" in shown(app)
        assert "[bold]x[/bold]" in shown(app)


async def test_a_log_follows_holds_and_is_searched(tmp_path: Path) -> None:
    app = console(tmp_path)
    async with app.run_test(size=(100, 20)) as pilot:
        app.operations.open_log("aaaaaaaaaaaa")
        await settle(pilot)
        view = app.shown_view
        assert isinstance(view, Logs)
        pane = view.query_one(LogPane)
        origin = Origin("eu-1", "install", 1, 1)
        pane.book.say(BookState.FOLLOWING, NOW)
        pane.book.put(origin, NOW, b"".join(b"line %d\n" % n for n in range(1000)))
        await settle(pilot)
        assert "line 999" in shown(app)
        await pilot.press("pageup")
        pane.book.put(origin, NOW, b"line 1000\n")
        await settle(pilot)
        assert "line 1000" not in shown(app), "what is read is held"
        await pilot.press("slash", *"line 77", "enter")
        await settle(pilot)
        assert pane.hit == 779
        await pilot.press("N")
        assert pane.hit == 778
        await pilot.press("ampersand", *"~line [12]00$", "enter")
        await settle(pilot)
        assert "line 100" in shown(app)
        assert "line 300" not in shown(app)
        await pilot.press("escape", "escape", "G")
        await settle(pilot)
        assert "line 1000" in shown(app)


async def test_a_run_is_shown_as_steps_by_nodes(tmp_path: Path) -> None:
    app = console(tmp_path)
    async with app.run_test(size=(110, 24)) as pilot:
        app.operations.open_run("aaaaaaaaaaaa")
        await settle(pilot)
        view = app.shown_view
        assert isinstance(view, RunDetail)
        assert isinstance(app.core, FakeCore)
        view._watched.put(_update())
        await settle(pilot)
        await settle(pilot)
        text = shown(app)
        assert "install" in text
        assert "exit_nonzero" in text or "it broke" in text
        assert text.index("eu-2") < text.index("eu-1", text.index("NODE")), "trouble stands first"


def _update() -> pipeline_management_pb2.RunUpdate:
    from gamenode_proto.v1 import common_pb2, work_pb2

    def task(name: str, state: str, step: str, message: str = "") -> work_pb2.Task:
        error = common_pb2.Error(code="exit_nonzero", message=message) if message else None
        return work_pb2.Task(
            id=f"t-{name}",
            node=work_pb2.NodeFacts(name=name),
            state=common_pb2.TaskState.Value(f"TASK_STATE_{state}"),
            started_at=NOW - 20,
            steps=[
                work_pb2.StepStatus(
                    id="install",
                    state=common_pb2.StepState.Value(f"STEP_STATE_{step}"),
                    attempt=1,
                    started_at=NOW - 20,
                    error=error,
                )
            ],
        )

    from support.desk import run

    return pipeline_management_pb2.RunUpdate(
        run=run("aaaaaaaaaaaa", running=1, failed=1),
        tasks=[task("eu-1", "RUNNING", "RUNNING"), task("eu-2", "FAILED", "FAILED", "it broke")],
    )
