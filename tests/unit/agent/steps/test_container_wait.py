"""container.wait: until a container is as it should be, or it is plain that it will not be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gamenode_agent.engines.containers import CLUSTER, RESTART, ContainerSpec, HealthCheck
from gamenode_agent.engines.inline import Result
from gamenode_pipelines.errors import Code, GameNodeError
from support.fake_engine import FakeEngine
from support.inline_attempts import Bench
from support.play import IMAGE
from support.waiting import until


async def made(engine: FakeEngine, *play: str, restart: str = "no", health: bool = False) -> None:
    check = HealthCheck(("CMD", "true")) if health else None
    labels = {CLUSTER: "cluster", RESTART: restart}
    await engine.create(ContainerSpec(name="oa", image=IMAGE, command=play, labels=labels, healthcheck=check))
    await engine.start("oa")


async def wait(engine: FakeEngine, **values: Any) -> Result:
    bench = Bench(engine)
    return await bench.step("container.wait", {"name": "oa", **values}).run(bench.handle())


async def test_until_it_runs_is_at_once() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60")
    assert (await wait(engine)).outputs["address"] == "172.17.0.2"


async def test_until_it_is_healthy() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60", health=True)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait(engine, **{"for": "healthy"}))
        await until(lambda: "inspect" in engine.calls)
        assert not task.done()
        engine.health("oa", "unhealthy")
        engine.health("oa", "healthy")


async def test_it_may_be_named_by_its_id() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60", health=True)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait(engine, **{"name": next(iter(engine.everything)), "for": "healthy"}))
        await until(lambda: "inspect" in engine.calls)
        assert not task.done()
        engine.health("oa", "healthy")


async def test_one_without_a_check_never_is_healthy() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60")
    with pytest.raises(GameNodeError, match="has no health check") as caught:
        await wait(engine, **{"for": "healthy"})
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_until_it_has_ended() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=0.05", "exit=4")
    assert (await wait(engine, **{"for": "exited"})).outputs == {"exit_code": "4"}


async def test_until_it_has_printed_something_from_its_start_on() -> None:
    engine = FakeEngine()
    await made(engine, "print=loading map oa_dm1", "sleep=60")
    await until(lambda: next(iter(engine.everything.values())).log)
    assert (await wait(engine, **{"for": "log", "pattern": r"map (\w+)$"})).outputs == {"line": "loading map oa_dm1"}


async def test_what_an_earlier_start_has_printed_does_not_count() -> None:
    engine = FakeEngine()
    await made(engine, "print=ready", "sleep=60")
    await until(lambda: next(iter(engine.everything.values())).log)
    engine.finish("oa")
    (container,) = engine.everything.values()
    container.spec = ContainerSpec(name="oa", image=IMAGE, command=("sleep=0.2", "print=ready 2", "sleep=60"))
    await engine.start("oa")
    assert (await wait(engine, **{"for": "log", "pattern": "ready"})).outputs == {"line": "ready 2"}


@pytest.mark.parametrize("what", [{"for": "log", "pattern": "never"}, {"for": "running"}, {"for": "healthy"}])
async def test_one_that_has_ended_says_how(what: dict[str, str]) -> None:
    engine = FakeEngine()
    await made(engine, "print=cannot open map", "exit=3")
    await until(lambda: next(iter(engine.everything.values())).shown.ended)
    with pytest.raises(GameNodeError, match=r"exit code 3(?s:.*)cannot open map") as caught:
        await wait(engine, **what)
    assert caught.value.code is Code.STEP_FAILED
    assert caught.value.details["exit_code"] == "3"


async def test_one_that_is_started_again_may_end_a_few_times() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60", restart="on-failure", health=True)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_caught(wait(engine, **{"for": "healthy"})))
        for number in range(3):
            await asyncio.sleep(0.02)
            assert not task.done(), number
            engine.finish("oa", 1)
            await asyncio.sleep(0.02)
            if number < 2:
                await engine.start("oa")
    assert "for the 3th time" in task.result().message


async def test_its_own_time_is_named_when_it_is_up() -> None:
    engine = FakeEngine()
    await made(engine, "print=loading", "sleep=60")
    with pytest.raises(
        GameNodeError, match=r"did not print 'ready' within 0.1 s: it is running(?s:.*)loading"
    ) as caught:
        await wait(engine, **{"for": "log", "pattern": "ready", "seconds": "100ms"})
    assert caught.value.code is Code.STEP_TIMEOUT


async def test_no_pattern_holds_up_the_agent() -> None:
    engine = FakeEngine()
    await made(engine, f"print={'a' * 200}!", "sleep=60")
    await until(lambda: next(iter(engine.everything.values())).log)
    with pytest.raises(GameNodeError, match="did not print") as caught:
        await wait(engine, **{"for": "log", "pattern": "(a+)+$", "seconds": "100ms"})
    assert caught.value.code is Code.STEP_TIMEOUT


async def test_a_pattern_that_cannot_be_searched_for_is_named() -> None:
    with pytest.raises(GameNodeError, match=r"with\.pattern: 'x\{1,2000\}' is no pattern: .*repetition size") as caught:
        await wait(FakeEngine(), **{"for": "log", "pattern": "x{1,2000}"})
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_one_that_is_not_there_is_not_waited_for() -> None:
    with pytest.raises(GameNodeError, match="'oa'") as caught:
        await wait(FakeEngine())
    assert caught.value.code is Code.NOT_FOUND


async def test_one_that_is_removed_meanwhile_is_gone() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60", health=True)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_caught(wait(engine, **{"for": "healthy"})))
        await asyncio.sleep(0.05)
        engine.lose("oa")
    assert task.result().code is Code.CONTAINER_GONE


async def _caught(work: Any) -> GameNodeError:
    with pytest.raises(GameNodeError) as caught:
        await work
    return caught.value
