"""The containers of a host: known by events, told by differences, measured without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from gamenode_agent.containers import inventory as module
from gamenode_agent.containers.inventory import Inventory
from gamenode_agent.engines.containers import (
    ATTEMPT,
    CLUSTER,
    FENCE,
    RUN,
    STEP,
    TASK,
    ContainerEvent,
    ContainerSpec,
    PortMapping,
    Usage,
)
from gamenode_pipelines.errors import Code
from gamenode_proto.v1.nodes_pb2 import Container, ContainerReport
from support.fake_engine import FakeEngine
from support.play import IMAGE, PROGRAM
from support.waiting import until

OWN = {CLUSTER: "c1", RUN: "r1", TASK: "t1", STEP: "start", ATTEMPT: "2", FENCE: "3"}


class Watched:
    """An inventory with its engine."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.inventory = Inventory(self.engine, cluster_id="c1", restarts=lambda _: 4)
        self.news = 0
        self.engine.subscribe(self.inventory.heard)

    async def make(self, name: str, labels: Mapping[str, str] = OWN, *words: str) -> str:
        """A container that runs."""
        spec = ContainerSpec(
            name=name,
            image=IMAGE,
            command=(PROGRAM, *(words or ("sleep=60",))),
            labels=labels,
            env={"PASSWORD": "x"},
            ports=(PortMapping(27960, "udp", 27000 + len(self.engine.everything)),),
            memory=64 << 20,
        )
        made = await self.engine.create(spec)
        await self.engine.start(made)
        return made

    async def told(self) -> ContainerReport:
        """The next report, once there is one."""
        report: ContainerReport = await until(self.inventory.changes, every=0.01, what="a report")
        return report

    async def settled(self) -> ContainerReport:
        """All that is told until nothing more comes: the last word on each container."""
        last: dict[str, Container] = {}
        removed: set[str] = set()
        complete = False
        for _ in range(20):
            await asyncio.sleep(0.01)
            report = self.inventory.changes()
            if report is not None:
                complete |= report.complete
                last |= {each.id: each for each in report.containers}
                removed |= set(report.removed)
        return ContainerReport(complete=complete, containers=last.values(), removed=removed)


@asynccontextmanager
async def watched(*, empty: bool = True) -> AsyncIterator[Watched]:
    host = Watched()
    if not empty:
        await host.make("own")
        await host.make("theirs", {"com.example": "secret"})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.inventory.run())
        yield host
        running.cancel()
    await host.engine.close()


async def test_the_first_report_is_complete_and_says_whose_each_container_is() -> None:
    async with watched(empty=False) as host:
        report = await host.told()
        assert report.complete
        shown = {each.name: each for each in report.containers}
        own, theirs = shown["own"], shown["theirs"]
        assert own.own
        assert (own.run_id, own.made_by.task_id, own.made_by.step_id) == ("r1", "t1", "start")
        assert (own.made_by.fence, own.made_by.attempt, own.restarts) == (3, 2, 4)
        assert own.ports == ["27000:27960/udp"]
        assert own.state == "running"
        assert not theirs.own
        assert not theirs.HasField("made_by")
        assert "secret" not in str(theirs)
        assert "PASSWORD" not in str(report)
        assert host.inventory.counts == (2, 2)


async def test_nothing_is_told_twice() -> None:
    async with watched(empty=False) as host:
        await host.told()
        assert host.inventory.changes() is None


async def test_one_change_costs_one_look() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        host.engine.calls.clear()
        host.engine.finish("own", 7)
        report = await host.settled()
        assert not report.complete
        (ended,) = report.containers
        assert (ended.name, ended.state, ended.exit_code) == ("own", "exited", 7)
        assert host.engine.calls == ["inspect"]
        assert host.inventory.counts == (1, 2)


async def test_health_checks_that_only_run_cost_nothing() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        host.engine.calls.clear()
        own = next(iter(host.engine.everything))
        for action in ("exec_create: true", "exec_start: true", "exec_die", "attach", "top"):
            host.inventory.heard(ContainerEvent(own, action, 1.0))
        assert (await host.settled()).containers == []
        assert host.engine.calls == []
        host.engine.health("own", "unhealthy")
        (sick,) = (await host.settled()).containers
        assert sick.health == "unhealthy"


async def test_a_removed_container_is_told_by_its_id() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        gone = next(iter(host.engine.everything))
        host.engine.lose("own")
        report = await host.settled()
        assert report.removed == [gone]
        assert not report.containers


async def test_one_removed_while_it_was_looked_at_does_not_come_back() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        gone = next(iter(host.engine.everything))
        shown = await host.engine.inspect(gone)
        assert shown is not None
        look = host.engine.inspect

        async def late(container: str) -> object:
            host.engine.inspect = look  # type: ignore[method-assign]
            host.engine.lose("own")
            return shown

        host.engine.inspect = late  # type: ignore[assignment, method-assign]
        host.inventory.heard(ContainerEvent(gone, "update", 1.0))
        assert (await host.settled()).removed == [gone]
        assert host.inventory.counts == (1, 1)


async def test_everything_is_listed_again_when_the_engine_comes_back() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        host.engine.go_away(end=True)
        await asyncio.sleep(0.05)
        assert host.inventory.changes() is None
        host.engine.come_back()
        report = await host.settled()
        assert report.complete
        assert {each.state for each in report.containers} == {"exited"}


async def test_an_engine_that_fails_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    host = Watched()
    await host.make("own")
    host.engine.fail_next("containers", Code.ENGINE_UNAVAILABLE)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.inventory.run())
        assert len((await host.told()).containers) == 1
        running.cancel()
    await host.engine.close()


async def test_a_new_session_hears_everything_and_then_what_changes() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        host.engine.finish("theirs", 0)
        await until(lambda: host.inventory.counts == (1, 2), what="the end to be seen")
        everything = host.inventory.everything()
        assert everything is not None
        assert everything.complete
        assert len(everything.containers) == 2
        assert host.inventory.changes() is None


async def test_use_is_told_with_cpu_in_percent_of_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(empty=False) as host:
        await host.settled()
        own = next(iter(host.engine.everything))
        seconds = iter((10.0, 10.5))

        async def usage(containers: object) -> dict[str, Usage]:
            return {own: Usage(next(seconds), 5 << 20, 7)}

        monkeypatch.setattr(host.engine, "usage", usage)
        began = asyncio.get_running_loop().time()
        await host.inventory.measure(1000.0)
        await asyncio.sleep(0.5)
        await host.inventory.measure(1000.5)
        elapsed = asyncio.get_running_loop().time() - began
        report = host.inventory.changes()
        assert report is not None
        (figures,) = report.usage
        assert (figures.id, figures.sampled_at, figures.pids) == (own, 1000.5, 7)
        assert (figures.memory_used, figures.memory_limit) == (5 << 20, 64 << 20)
        assert 100 * 0.5 / elapsed * 0.9 <= figures.cpu_percent <= 101
        assert not report.containers


async def test_a_container_that_ended_uses_nothing() -> None:
    async with watched(empty=False) as host:
        await host.settled()
        await host.inventory.measure(1000.0)
        assert host.inventory.changes() is not None
        host.engine.finish("own", 0)
        (ended,) = (await host.settled()).containers
        assert not ended.HasField("usage")


async def test_a_heartbeat_does_not_wait_for_an_engine_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURE_LIMIT", 0.05)
    async with watched(empty=False) as host:
        await host.settled()
        host.engine.slow(30.0)
        async with asyncio.timeout(10):
            await host.inventory.measure(1000.0)
        host.engine.slow(0.0)
        assert host.inventory.changes() is None


async def test_only_so_many_are_told_and_our_own_before_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    async with watched() as host:
        await host.make("own-1")
        for count in range(3):
            await host.make(f"theirs-{count}", {})
        await until(lambda: host.inventory.counts == (4, 4), what="all of them")
        everything = host.inventory.everything()
        assert everything is not None
        assert [each.name for each in everything.containers] == ["own-1", "theirs-2"]
        await host.make("own-2")
        report = await host.settled()
        assert [each.name for each in report.containers] == ["own-2"]
        assert len(report.removed) == 1
        assert host.inventory.counts == (5, 5)


async def test_an_agent_told_to_do_without_says_that_there_is_nothing() -> None:
    inventory = Inventory(None, cluster_id="c1")
    report = inventory.everything()
    assert report is not None
    assert report.complete
    assert not report.containers
    await inventory.measure(1.0)
    assert inventory.changes() is None
