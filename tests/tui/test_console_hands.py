"""What keys do from each view: logs beneath what is selected, events, runs, decisions, labels, exports."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from gamenode_console.app import ConsoleApp
from gamenode_console.core.logfeeds import Source
from gamenode_console.model.world import World
from gamenode_console.screens.choosing import Choosing
from gamenode_console.screens.confirm import Confirm
from gamenode_console.screens.events import Events
from gamenode_console.screens.following import REST, FollowingLog
from gamenode_console.screens.logs import Logs
from gamenode_console.screens.node import NodeDetail
from gamenode_console.screens.run import RunDetail
from gamenode_console.screens.runs import Runs
from gamenode_console.widgets.table import Table
from gamenode_proto.v1 import common_pb2, nodes_pb2, pipeline_management_pb2, work_pb2
from support import screenshots
from support.desk import NOW, FakeCore, FrozenClock, console, filled_world, node
from support.views import Answers, run_update
from support.waiting import until


class Gateway(Answers):
    """Answers, and remembers what it was asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, ...]] = []
        self.state.label_node = self._label
        self.pipelines.resolve = self._resolve
        self.pipelines.explain = self._explain
        self.pipelines.pause = self._pause
        self.pipelines.decide = self._decide
        self.state.set_admin_state = self._admin
        self.pipelines.get = self._text

    async def _label(self, node: str, *, set: dict[str, str], remove: list[str]) -> None:
        self.made.append(("label", node, set, remove))

    async def _resolve(self, run: str, *, node: str, outcome: str, reason: str) -> None:
        self.made.append(("resolve", run, node, outcome, reason))

    async def _pause(self, run: str, *, paused: bool, reason: str) -> None:
        self.made.append(("pause", run, paused, reason))

    async def _decide(self, run: str, *, approved: bool, step: str, node: str, reason: str) -> None:
        self.made.append(("decide", run, approved, step, node, reason))

    async def _admin(self, nodes: list[str], *, state: int, deadline: float) -> None:
        self.made.append(("admin", tuple(nodes), state, deadline))

    async def _explain(self, run: str) -> pipeline_management_pb2.ExplainRunResponse:
        return pipeline_management_pb2.ExplainRunResponse(summary="waits for eu-2, offline")

    async def _text(self, name: str) -> pipeline_management_pb2.GetPipelineResponse:
        stored = pipeline_management_pb2.Pipeline(name=name, version=3, text=f"pipeline: {name}\n\x1b[31msteps: []\n")
        return pipeline_management_pb2.GetPipelineResponse(pipeline=stored)


class Desk:
    """The app, a clock that the test moves, and hands."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot
        assert isinstance(app.core, FakeCore)
        self.core = app.core
        assert isinstance(app._clock, FrozenClock)
        self.clock = app._clock

    @property
    def text(self) -> str:
        return screenshots.text(self.app)

    async def settle(self) -> None:
        async def ready() -> bool:
            await self.pilot.pause()
            return (view := self.app.shown_view) is not None and view.ready

        await until(ready, what="the view")
        for _ in range(2):
            self.app.beat()
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.settle()
            await self.pilot.press(key)
        await self.settle()

    async def types(self, text: str) -> None:
        """Types a line into the prompt that is open, and ends it."""
        await self.pilot.press(*text, "enter")
        await self.settle()

    async def shows(self, what: type[Any]) -> Any:
        """Waits for a screen of a kind to be on top."""
        await until(lambda: isinstance(self.app.screen, what), what=what.__name__)
        await self.settle()
        return self.app.screen

    def read(self) -> list[Source]:
        """The logs that were asked for, in order."""
        return [
            feed.args[0] for feed in self.core.feeds if isinstance(feed, partial) and isinstance(feed.args[0], Source)
        ]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def world() -> World:
    made = filled_world()
    made.put_events([work_pb2.Event(cursor=1, time=NOW, type="step.started", node_id="id-us-1", run_id="aaaaaaaaaaaa")])
    return made


async def test_the_fleet_reads_the_log_of_what_the_cursor_rests_on(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, world=world(), gateway=gateway)
    async with app.run_test(size=(120, 40)) as pilot:
        desk = Desk(app, pilot)
        await desk.settle()
        log = app.screen.query_one(FollowingLog)
        assert desk.read() == [], "the cursor has not rested"
        assert "no log yet" in desk.text
        desk.clock.at += REST
        await desk.settle()
        assert desk.read() == [Source(run="bbbbbbbbbbbb")], "eu-2 has run nothing: what the cursor of the runs is on"
        app.screen.query_one("#nodes", Table).point_at("id-us-1")
        await desk.settle()
        assert len(desk.read()) == 1
        desk.clock.at += REST
        await desk.settle()
        assert desk.read()[1:] == [Source(run="aaaaaaaaaaaa", node="us-1")]
        assert log.border_title == "Log aaaaaaaaaaaa/us-1"
        app.screen.query_one("#runs", Table).focus()
        await desk.press("down")
        desk.clock.at += REST
        await desk.settle()
        assert desk.read()[2:] == [Source(run="aaaaaaaaaaaa")]
        await desk.press("2")
        assert log.source is None, "nothing is read for a view that nobody sees"
        await desk.press("1")
        desk.clock.at += REST
        await desk.settle()
        assert log.source == Source(run="aaaaaaaaaaaa")


async def test_a_low_terminal_has_no_third_pane_and_reads_no_log(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, world=world(), gateway=gateway)
    async with app.run_test(size=(60, 18)) as pilot:
        desk = Desk(app, pilot)
        app.screen.query_one("#nodes", Table).point_at("id-us-1")
        desk.clock.at += 10 * REST
        await desk.settle()
        assert desk.read() == []


async def test_the_log_beneath_a_run_is_of_the_step_that_matters(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.settle()
        app.operations.open_run("aaaaaaaaaaaa", why=True)
        view = await desk.shows(RunDetail)
        view._watched.put(run_update())
        await desk.settle()
        await app.workers.wait_for_complete()
        await desk.settle()
        desk.clock.at += 1
        await desk.settle()
        assert desk.read()[-1] == Source(run="aaaaaaaaaaaa", node="us-1", step="install")
        assert "✗ install: exit status 1: no space left on device on us-1" in desk.text
        assert "waits for eu-2, offline" in desk.text
        await desk.press("l")
        assert isinstance(app.screen, Logs)


@pytest.mark.parametrize(("view", "listed"), [("4", "aaaaaaaaaaaa"), ("2", "us-1")])
async def test_e_shows_the_events_of_what_is_under_the_cursor(
    tmp_path: Path, gateway: Gateway, view: str, listed: str
) -> None:
    app = console(tmp_path, world=world(), gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press(view)
        app.screen.query_one(Table).point_at("aaaaaaaaaaaa" if view == "4" else "id-us-1")
        await desk.press("e")
        assert isinstance(app.screen, Events)
        assert app.screen.title_text == f"Events 1 /{listed}"


async def test_l_asks_which_log_of_a_node(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, world=world(), gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("2")
        app.screen.query_one(Table).point_at("id-us-1")
        await desk.press("l")
        await desk.shows(Choosing)
        assert "the last run here: aaaaaaaaaaaa" in desk.text
        assert "container xonotic-26000 (running)" in desk.text
        await desk.press("down", "enter")
        view = await desk.shows(Logs)
        assert view._source == Source(node="us-1", container="xonotic-26000")


async def test_a_pipelines_file_is_read_and_its_runs_are_listed(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("3")
        await app.workers.wait_for_complete()
        await desk.press("down", "d")
        await until(lambda: "pipeline: deploy" in desk.text, what="the text")
        assert "␛[31msteps" in desk.text
        await desk.press("ctrl+s")
        (written,) = (tmp_path / "exports").iterdir()
        assert written.read_text() == "pipeline: deploy\n\x1b[31msteps: []\n"
        await desk.press("q", "r")
        assert isinstance(app.screen, Runs)
        assert app.screen.title_text == "Runs 1 of 2 /pipeline=deploy"


async def test_a_decision_is_typed_with_its_reason_and_asked_again(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("4")
        app.screen.query_one(Table).point_at("aaaaaaaaaaaa")
        await desk.press("D")
        await desk.types("eu-1 maybe x")
        assert "'maybe': say succeeded, failed, retry" in desk.text
        await desk.press("escape", "D")
        await desk.types("eu-1 succeeded")
        assert "it needs more" in desk.text
        await desk.types(" looked myself")
        await desk.shows(Confirm)
        await desk.press("y")
        await app.workers.wait_for_complete()
        assert gateway.made == [("resolve", "aaaaaaaaaaaa", "eu-1", "succeeded", "looked myself")]


async def test_runs_are_steered_and_nodes_emptied_by_command(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        for line, asked in (
            ("pause aaaaaaaaaaaa look first", False),
            ("resume aaaaaaaaaaaa", False),
            ("approve aaaaaaaaaaaa", True),
            ("approve aaaaaaaaaaaa ask eu-1", True),
            ("reject aaaaaaaaaaaa ask not now", True),
            ("drain eu-1 10m", True),
        ):
            assert app.commanding.do(line) == ""
            if asked:
                await desk.shows(Confirm)
                await desk.press("y")
            await app.workers.wait_for_complete()
        assert app.commanding.do("reject aaaaaaaaaaaa ask").startswith("it needs more")
        assert app.commanding.do("pause zzzz") != ""
        assert app.commanding.do("drain eu-1 soon") != ""
        node = app.operations.node("eu-1").id
        assert gateway.made == [
            ("pause", "aaaaaaaaaaaa", True, "look first"),
            ("pause", "aaaaaaaaaaaa", False, ""),
            ("decide", "aaaaaaaaaaaa", True, "", "", ""),
            ("decide", "aaaaaaaaaaaa", True, "ask", "eu-1", ""),
            ("decide", "aaaaaaaaaaaa", False, "ask", "", "not now"),
            ("admin", (node,), common_pb2.ADMIN_STATE_DRAINING, 600.0),
        ]


async def test_a_node_is_emptied_by_key_and_its_page_says_what_is_left(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("2")
        app.screen.query_one(Table).point_at("id-us-1")
        await desk.press("D")
        await desk.types("10m")
        await desk.shows(Confirm)
        assert "What is left after 10m is cancelled." in desk.text
        await desk.press("y")
        await app.workers.wait_for_complete()
        assert gateway.made == [("admin", ("id-us-1",), common_pb2.ADMIN_STATE_DRAINING, 600.0)]
        drained = node("us-1", region="us")
        drained.admin_state = common_pb2.ADMIN_STATE_DRAINING
        drained.drain.CopyFrom(nodes_pb2.NodeDrain(by="local:ana", reason="\x1b[2Jdisks", until=NOW + 60, left=2))
        app.world.put_nodes([drained])
        app.operations.open_node("id-us-1")
        await desk.shows(NodeDetail)
        await until(lambda: "by local:ana: ␛[2Jdisks; 2 tasks left, cancelled in " in desk.text, what="the page")


async def test_labels_go_to_every_marked_node_after_a_question(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("2", "space", "space", "L")
        await desk.types("tier=gold")
        await desk.shows(Confirm)
        assert "Label 2 nodes: tier=gold?" in desk.text
        await desk.press("tab", "enter") if not app.screen.query("#typed") else await desk.press("2", "enter")
        await app.workers.wait_for_complete()
        assert sorted(node for _, node, *_ in gateway.made) == ["id-eu-1", "id-eu-2"]


async def test_a_table_is_written_as_json_where_the_file_is_called_so(tmp_path: Path, gateway: Gateway) -> None:
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("2", "colon")
        await desk.types(f"export {tmp_path}/n.json")
        assert [row["name"] for row in json.loads((tmp_path / "n.json").read_text())] == ["eu-2", "eu-1", "us-1"]
        await desk.press("colon")
        await desk.types(f"export {tmp_path}/n.csv")
        assert (tmp_path / "n.csv").read_text().startswith("name,state,")


async def test_a_node_without_a_log_says_so(tmp_path: Path, gateway: Gateway) -> None:
    async def none(**_given: Any) -> list[Any]:
        return []

    gateway.containers = SimpleNamespace(list=none)
    app = console(tmp_path, gateway=gateway)
    async with app.run_test(size=(110, 30)) as pilot:
        desk = Desk(app, pilot)
        await desk.press("2", "l")
        said = await until(lambda: [each.message for each in app._notifications], what="the answer")
        assert said == ["eu-2 has no log: nothing ran there, and it has no container"]
