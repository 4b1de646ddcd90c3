"""What is to run is kept running: with patience, over outages and reboots, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent.containers import instances as module
from gamenode_agent.containers import restarting
from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.instances import Instances
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import CLUSTER, NODE, RESTART, ContainerEvent, ContainerSpec, HalfStarted
from gamenode_pipelines.errors import Code
from support.fake_container import FakeContainer
from support.fake_engine import FakeEngine
from support.play import IMAGE
from support.waiting import until

# -- keeping -----------------------------------------------------------------------------------------------------------


class Node:
    """Instances of one node on a fake engine, with what they told."""

    def __init__(self, engine: FakeEngine, path: Path | None = None) -> None:
        self.engine = engine
        self.wishes = Wishes(path)
        self.told: list[tuple[str, Mapping[str, str]]] = []

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.told]

    @asynccontextmanager
    async def kept(self, *, by_hand: float = 30.0) -> AsyncIterator[None]:
        instances = Instances(
            self.engine,
            self.wishes,
            cluster_id="cluster",
            node_id="node",
            tell=lambda word, data: self.told.append((word, data)),
            settle=0.02,
            by_hand=by_hand,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(instances.run())
            await asyncio.sleep(0.02)
            yield
            task.cancel()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "BACKOFF", 0.03)
    monkeypatch.setattr(module, "RETRY", 0.02)


async def made(engine: FakeEngine, restart: str = "on-failure", *, node: str = "node", **labels: str) -> FakeContainer:
    own = {CLUSTER: "cluster", NODE: node, RESTART: restart, **labels}
    name = f"oa-{len(engine.everything)}"
    made = await engine.create(ContainerSpec(name=name, image=IMAGE, command=("sleep=600",), labels=own))
    await engine.start(made)
    return engine.everything[made]


async def settled() -> None:
    await asyncio.sleep(0.3)


async def test_one_that_crashes_is_started_again_and_counted() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine)
    async with node.kept():
        for number in (1, 2):
            engine.finish(container.id, 139)
            await until(lambda: container.shown.running, every=0.01)
            await until(lambda number=number: node.wishes.restarts(container.id) == number)  # type: ignore[misc]
    assert node.words == ["instance.crashed", "instance.restarted"] * 2
    assert node.told[0][1]["exit_code"] == "139"


async def test_one_that_ends_well_is_left_be_unless_it_is_always_to_run() -> None:
    engine = FakeEngine()
    node = Node(engine)
    well, always = await made(engine), await made(engine, "always")
    async with node.kept():
        engine.finish(well.id, 0)
        engine.finish(always.id, 0)
        await until(lambda: always.shown.running, every=0.01)
        await settled()
    assert not well.shown.running
    assert node.words == ["instance.restarted"]


async def test_one_that_does_not_come_up_is_given_up() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "on-failure:2")
    await asyncio.sleep(0.01)  # it plays what it is told until then
    container.spec = ContainerSpec(name="oa", image=IMAGE, command=("exit=1",), labels=container.spec.labels)
    async with node.kept():
        engine.finish(container.id, 1)
        await until(lambda: "instance.gave_up" in node.words)
    assert node.words == [*["instance.crashed", "instance.restarted"] * 2, "instance.crashed", "instance.gave_up"]
    assert node.wishes.is_over(container.id)


async def test_one_may_be_removed_while_another_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    class Removing(FakeEngine):
        async def start(self, container: str) -> None:
            await super().start(container)
            if "instance.crashed" in node.words:
                self.lose(next(other for other in self.everything if other != container))

    engine = Removing()
    node = Node(engine)
    both = [await made(engine), await made(engine)]
    async with node.kept():
        for each in both:
            engine.finish(each.id, 139)
        await until(lambda: "instance.restarted" in node.words)
        await settled()
    assert [each.shown.running for each in engine.everything.values()] == [True]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_one_that_cannot_be_started_is_a_crash_too() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "on-failure:1")
    engine.fail_next("start", Code.INSUFFICIENT_RESOURCES, "port taken")
    async with node.kept():
        engine.finish(container.id, 1)
        await until(lambda: "instance.gave_up" in node.words)
    assert {"error": "port taken"}.items() <= node.told[1][1].items()


async def test_one_that_can_never_be_started_again_is_given_up_at_once() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "always")
    engine.fail_next("start", Code.STATE_CONFLICT, "have it made anew", HalfStarted)
    async with node.kept():
        engine.finish(container.id, 1)
        await until(lambda: "instance.gave_up" in node.words)
    assert node.told[-1][1]["why"] == "have it made anew"
    assert node.wishes.is_over(container.id)


@pytest.mark.parametrize("restart", ["always", "on-failure"])
async def test_what_went_down_with_its_engine_comes_back_at_once(restart: str) -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, restart)
    async with node.kept():
        engine.closing = True
        engine.finish(container.id, 0)  # a server that heeds SIGTERM
        await asyncio.sleep(0.05)
        engine.go_away()
        engine.come_back()
        await until(lambda: container.shown.running, every=0.01)
    assert node.words == ["instance.restarted"], "and nobody blames it for a crash"


async def test_after_a_reboot_of_the_host_what_is_to_run_is_started(tmp_path: Path) -> None:
    engine = FakeEngine()
    runs, stopped, ended, fresh = [await made(engine, "always") for _ in range(4)]
    node = Node(engine, tmp_path / "wishes.json")
    async with node.kept():
        await Endings(engine, node.wishes).stop(stopped.shown, grace=None)
    engine.go_away(end=True)
    engine.available = True
    del engine.everything[ended.id]
    fresh.shown = type(fresh.shown)(fresh.id, "fresh", IMAGE, "created", labels=fresh.spec.labels)
    again = Node(engine, tmp_path / "wishes.json")
    async with again.kept():
        await until(lambda: runs.shown.running, every=0.01)
        await settled()
    assert not stopped.shown.running, "what was stopped stays so"
    assert fresh.shown.state == "created", "what was never started is not for us to start"


async def test_a_stop_ends_the_wish_and_a_restart_keeps_it() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "always")
    endings = Endings(engine, node.wishes)
    async with node.kept():
        await endings.restart(container.shown, grace=None)
        await settled()
        assert container.shown.running
        await endings.stop(container.shown, grace=None)
        await settled()
        assert not container.shown.running
        assert node.told == []
        await endings.restart(container.shown, grace=None)
        engine.finish(container.id, 1)
        await until(lambda: container.shown.running, every=0.01)


async def test_one_stopped_by_hand_stays_so_unless_its_engine_did_it() -> None:
    engine = FakeEngine()
    node = Node(engine)
    by_hand, by_engine = await made(engine, "always"), await made(engine, "always")

    def stop(container: FakeContainer) -> None:
        engine.finish(container.id, 143)
        engine._tell(ContainerEvent(container.id, "stop", 0.0, labels=container.spec.labels))

    async with node.kept(by_hand=0.2):
        stop(by_hand)
        await until(lambda: "instance.stopped" in node.words)
        stop(by_engine)
        await asyncio.sleep(0.05)
        engine.go_away()
        engine.come_back()
        await until(lambda: by_engine.shown.running, every=0.01)
    assert not by_hand.shown.running
    assert node.words == ["instance.stopped", "instance.restarted"]


async def test_nobody_elses_are_started() -> None:
    engine = FakeEngine()
    node = Node(engine)
    others = [
        await made(engine, "always", node="another"),
        await made(engine, "always", **{CLUSTER: "another"}),
        await made(engine, "no"),
    ]
    async with node.kept():
        for each in others:
            engine.finish(each.id, 1)
        engine.go_away()
        engine.come_back()
        await settled()
    assert not any(each.shown.running for each in others)
    assert node.told == []


async def test_a_jobs_container_that_could_not_be_removed_goes_when_that_is_possible() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "no")
    engine.finish(container.id, 0)
    await node.wishes.leave(container.id)
    async with node.kept():
        await until(lambda: not engine.everything, every=0.01)


async def test_one_that_cannot_be_removed_keeps_no_other_from_being_started() -> None:
    engine = FakeEngine()
    node = Node(engine)
    leftover, kept = await made(engine, "no"), await made(engine, "always")
    engine.finish(leftover.id, 0)
    await node.wishes.leave(leftover.id)
    engine.finish(kept.id, 0)
    for _ in range(100):
        engine.fail_next("remove", Code.STEP_FAILED, "device or resource busy")
    async with node.kept():
        await until(lambda: kept.shown.running, every=0.01)


async def test_an_engine_that_is_only_busy_is_asked_again() -> None:
    engine = FakeEngine()
    node = Node(engine)
    container = await made(engine, "always")
    async with node.kept():
        engine.closing = True
        engine.finish(container.id, 1)
        await settled()
        assert not container.shown.running
        engine.closing = False
        await until(lambda: container.shown.running, every=0.01)


# -- wishes ------------------------------------------------------------------------------------------------------------


async def test_wishes_outlive_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "wishes.json"
    wishes = Wishes(path)
    await wishes.end("a", "stopped")
    await wishes.end("b", "stopped")
    await wishes.begin("b")
    await wishes.count("c")
    again = Wishes(path)
    assert [again.is_over(each) for each in "abc"] == [True, False, False]
    assert again.restarts("c") == 1
    await again.forget_all_but({"c"})
    assert not Wishes(path).is_over("a")


async def test_a_full_disk_changes_nothing_for_the_agent_that_lives(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "wishes.json"
    wishes = Wishes(path)
    await wishes.end("a", "stopped")
    assert wishes.is_over("a")
    assert wishes.unsaved
    path.parent.mkdir()
    await wishes.save()
    assert not wishes.unsaved
    assert Wishes(path).is_over("a")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ended": 3}'])
def test_a_file_that_cannot_be_read_starts_too_much_rather_than_too_little(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wishes.json"
    path.write_text(text)
    wishes: Any = Wishes(path)
    assert not wishes.is_over("a")
