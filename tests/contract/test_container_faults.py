"""What every container engine keeps when it is away, frozen, or comes back: named errors, and nobody waits in vain."""

from __future__ import annotations

import asyncio

import pytest

from gamenode_agent.engines.containers import ContainerEvent
from gamenode_agent.engines.docker.engine import DockerEngine
from gamenode_pipelines.errors import Code, GameNodeError
from support.docker_engine import DockerEngineProcess
from support.engine_bench import Bench, docker_bench
from support.waiting import until


async def test_an_engine_that_goes_and_comes_is_seen(bench: Bench) -> None:
    engine = bench.engine
    heard: list[ContainerEvent | None] = []
    engine.subscribe(heard.append)
    assert (engine.available, engine.problem, engine.outages) == (True, "", 0)
    assert await engine.accepting()

    await bench.faults.away()
    await until(lambda: not engine.available, what="away")
    assert engine.problem
    assert None in heard
    assert not await engine.accepting()
    for asked in (lambda: engine.containers(), lambda: engine.inspect("x"), lambda: engine.ready(0.1)):
        with pytest.raises(GameNodeError) as caught:
            await asked()
        assert caught.value.code is Code.ENGINE_UNAVAILABLE
        assert caught.value.message == engine.problem

    heard.clear()
    await bench.faults.back()
    await engine.ready(20)
    assert (engine.available, engine.problem, engine.outages) == (True, "", 1)
    assert None in heard
    await engine.containers()


async def test_who_waits_hears_of_an_end_that_the_engine_brought(bench: Bench) -> None:
    container = await bench.started("sleep=600")
    waiting = asyncio.get_running_loop().create_task(bench.engine.wait(container))
    await asyncio.sleep(0.2)
    await bench.faults.away()
    await until(lambda: not bench.engine.available, what="away")
    await bench.faults.back()
    async with asyncio.timeout(30):
        ended = await waiting
    assert ended.id == container
    assert ended.ended
    assert ended.exit_code != 0
    assert bench.engine.outages == 1


async def test_a_command_whose_engine_goes_away_fails_by_name(bench: Bench) -> None:
    container = await bench.started("sleep=600")
    ran = await bench.engine.exec_create(container, ["/bin/play", "print=up", "sleep=600"], env={})
    output = bench.engine.exec_start(ran)
    assert await anext(output) == (1, b"up\n")
    going = asyncio.get_running_loop().create_task(bench.faults.away())

    async def to_the_end() -> None:
        async for _ in output:
            pass
        # The engine ended the command in order before it went: then how it ended is what nobody can say.
        await until(lambda: not bench.engine.available, what="away")
        await bench.engine.exec_inspect(ran)

    with pytest.raises(GameNodeError) as caught:
        await to_the_end()
    assert caught.value.code is Code.ENGINE_UNAVAILABLE
    await going
    await bench.faults.back()
    await bench.engine.ready(20)
    status = await bench.engine.exec_inspect(ran)
    assert status is None or not status.running


async def test_docker_that_comes_up_later_is_found_within_a_second_or_two(docker_engine: DockerEngineProcess) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    await asyncio.to_thread(docker_engine.stop)
    engine = DockerEngine(docker_engine.address, retry=1.0)
    watching = asyncio.get_running_loop().create_task(engine.run())
    try:
        await until(lambda: str(docker_engine.socket) in engine.problem, what="a word on what is missing")
        assert not engine.available
        await asyncio.to_thread(docker_engine.start)
        await engine.ready(5)
        assert engine.outages == 0
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await engine.close()


@pytest.mark.parametrize("live_restore", [True, False])
async def test_docker_that_dies_without_a_word(docker_engine: DockerEngineProcess, live_restore: bool) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    await asyncio.to_thread(docker_engine.restart, live_restore=live_restore)
    try:
        async with docker_bench(docker_engine) as bench:
            container = await bench.started("print=up", "sleep=600")
            await bench.says(container, "up")
            waiting = asyncio.get_running_loop().create_task(bench.engine.wait(container))
            await asyncio.to_thread(docker_engine.kill)
            await until(lambda: not bench.engine.available, what="away")
            await asyncio.to_thread(docker_engine.start, live_restore=live_restore)
            await bench.engine.ready(20)
            found = await bench.engine.inspect(container)
            assert found is not None
            if live_restore:
                assert found.running
                await bench.engine.kill(container)
            async with asyncio.timeout(30):
                ended = await waiting
            assert ended.exit_code != 0
    finally:
        if live_restore:
            await asyncio.to_thread(docker_engine.restart)


async def test_docker_that_is_frozen_counts_as_away_and_nobody_waits_for_it(
    docker_engine: DockerEngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    monkeypatch.setattr("gamenode_agent.engines.docker.watch.PING_EVERY", 0.3)
    monkeypatch.setattr("gamenode_agent.engines.docker.watch.LOOK_TIMEOUT", 1)
    async with docker_bench(docker_engine) as bench:
        docker_engine.freeze()
        try:
            asking = asyncio.get_running_loop().create_task(bench.engine.containers())
            making = asyncio.get_running_loop().create_task(bench.engine.create(bench.spec("exit=0")))
            await until(lambda: not bench.engine.available, what="away")
            await asyncio.wait([asking, making], timeout=5)
            for each in (asking, making):
                error = each.exception()
                assert isinstance(error, GameNodeError)
                assert error.code is Code.ENGINE_UNAVAILABLE
        finally:
            docker_engine.thaw()
        await bench.engine.ready(20)
        assert bench.engine.outages == 1
