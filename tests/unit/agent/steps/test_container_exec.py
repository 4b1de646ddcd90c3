"""container.exec: a command in a container of ours, once, and no word about output that nobody saw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gamenode_agent.engines.containers import CLUSTER, ContainerSpec
from gamenode_agent.engines.inline import LostTrack, Result
from gamenode_pipelines.errors import Code, GameNodeError
from support.fake_engine import FakeEngine
from support.inline_attempts import Bench, FakeHandle, stop
from support.play import IMAGE
from support.waiting import until


async def made(engine: FakeEngine, *, cluster: str = "cluster") -> None:
    labels = {CLUSTER: cluster}
    await engine.create(ContainerSpec(name="oa", image=IMAGE, command=("sleep=60",), labels=labels))
    await engine.start("oa")


async def do(bench: Bench, handle: FakeHandle, *play: str) -> Result:
    return await bench.step("container.exec", {"name": "oa", "command": list(play)}).run(handle)


async def interrupted(bench: Bench, handle: FakeHandle, *play: str) -> None:
    task = asyncio.ensure_future(do(bench, handle, *play))
    await until(lambda: handle.output, every=0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_its_exit_code_and_output_are_the_steps() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    done = await do(bench, handle, "print=hello", "err=oh", "env=GAMENODE_STEP_ID", "exit=3")
    assert done.exit_code == 3
    assert handle.output == b"hello\noh\nGAMENODE_STEP_ID=a\n"
    assert handle.notes["exec"] in engine.execs


async def test_only_in_a_container_of_ours_that_runs() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    codes = [await _code(bench)]
    await made(engine, cluster="")
    codes.append(await _code(bench))
    engine.lose("oa")
    await made(engine)
    engine.finish("oa")
    codes.append(await _code(bench))
    assert codes == [Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.STATE_CONFLICT]
    assert not engine.execs


async def test_one_that_runs_is_waited_for_by_the_next_agent() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    await interrupted(bench, handle, "print=a", "sleep=0.2", "print=b", "exit=5")
    done = await do(bench, handle.again(), "print=a")
    assert done.exit_code == 5
    assert handle.output == b"a\n"
    assert "missing here" in handle.said[0]
    assert len(engine.execs) == 1


async def test_one_that_was_noted_and_never_started_is_started() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    engine.fail_next("exec_start", Code.INTERNAL)
    with pytest.raises(GameNodeError):
        await do(bench, handle, "print=a")
    await do(bench, handle.again(), "print=a")
    assert handle.output == b"a\n"
    assert len(engine.execs) == 1


async def test_one_that_the_engine_has_forgotten_is_lost() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    await interrupted(bench, handle, "print=a", "sleep=60")
    engine.execs.clear()
    with pytest.raises(LostTrack):
        await do(bench, handle.again(), "print=a")
    engine.lose("oa")
    with pytest.raises(GameNodeError) as caught:
        await do(bench, handle.again(), "print=a")
    assert caught.value.code is Code.CONTAINER_GONE


async def test_an_engine_that_goes_away_is_waited_for_and_the_gap_is_said() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(do(bench, handle, "print=a", "sleep=0.3", "exit=2"))
        await until(lambda: handle.output, every=0.005)
        engine.go_away()
        await until(lambda: handle.said)
        engine.come_back()
    assert task.result().exit_code == 2
    assert "went away" in handle.said[0]


async def test_a_cancel_returns_only_when_it_is_over() -> None:
    engine = FakeEngine()
    await made(engine)
    bench = Bench(engine)
    handle = bench.handle()
    await interrupted(bench, handle, "print=a", "sleep=60")
    step: Any = bench.step("container.exec", {"name": "oa", "command": ["print=a"]})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(step.end(handle, stop()))
        await asyncio.sleep(0.2)
        assert not task.done()
        engine.execs[handle.notes["exec"]].end(143)
    assert task.result() == 143


async def test_a_cancel_of_one_that_never_began_has_nothing_to_end() -> None:
    bench = Bench(FakeEngine())
    step: Any = bench.step("container.exec", {"name": "oa", "command": ["print=a"]})
    assert await step.end(bench.handle(), stop()) is None


async def _code(bench: Bench) -> Code:
    with pytest.raises(GameNodeError) as caught:
        await do(bench, bench.handle(), "print=a")
    return caught.value.code
