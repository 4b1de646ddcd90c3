"""container.job: its container's end is its own, its output is the step's log, and nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gamenode_agent.engines.containers import ContainerSpec, EngineInfo, HalfStarted, NotAsked
from gamenode_agent.engines.inline import LostTrack, Result
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.fake_engine import FakeEngine
from support.inline_attempts import Bench, FakeHandle, stop
from support.play import IMAGE
from support.waiting import until

NAME = "gn-task-a-1"


def job(*play: str, **more: Any) -> Mapping[str, Any]:
    return {"image": IMAGE, "command": list(play), **more}


async def run(bench: Bench, values: Mapping[str, Any], handle: FakeHandle | None = None) -> Result:
    handle = handle or bench.handle()
    return await bench.step("container.job", values, key=handle.key).run(handle)


async def interrupted(bench: Bench, values: Mapping[str, Any], handle: FakeHandle, *, at: str = "tick 1") -> None:
    """Runs it until it has printed `at`; then the agent dies."""
    task = asyncio.ensure_future(run(bench, values, handle))
    await until(lambda: at.encode() in handle.output, every=0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_its_exit_code_and_output_are_the_steps() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    done = await run(bench, job("print=out*3", "err=oh", "print=after", "exit=7"), handle)
    assert (done.exit_code, done.error) == (7, None)
    assert handle.output == b"out 1\nout 2\nout 3\noh\nafter\n"
    assert [stream for stream, _ in handle.writes] == [1, 2, 1]
    assert not engine.everything
    assert not handle.said


async def test_too_much_memory_is_named_with_its_limit() -> None:
    done = await run(Bench(FakeEngine()), job("eat=64m", resources={"memory": "32m"}))
    assert done.error is not None
    assert done.error.code is Code.OOM_KILLED
    assert done.error.details == {"limit": "memory", "value": str(32 << 20)}
    assert done.exit_code == 137


async def test_a_limit_that_the_engine_cannot_keep_is_refused() -> None:
    engine = FakeEngine()
    engine.info = EngineInfo("docker", "1", "1", missing_limits=("memory",))
    with pytest.raises(GameNodeError, match="cannot limit memory") as caught:
        await run(Bench(engine), job("exit=0", resources={"memory": "32m"}))
    assert caught.value.code is Code.INSUFFICIENT_RESOURCES


async def test_a_folder_that_is_missing_is_named() -> None:
    engine = FakeEngine()
    engine.address = "unix:///fake.sock"
    with pytest.raises(GameNodeError, match="/no/such/folder") as caught:
        await run(Bench(engine), job("exit=0", volumes=["/no/such/folder:/data"]))
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_one_removed_by_hand_is_gone() -> None:
    engine = FakeEngine()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_caught(run(Bench(engine), job("sleep=60"))))
        await until(lambda: any(each.shown.running for each in engine.everything.values()), every=0.005)
        await asyncio.sleep(0.05)
        engine.lose(NAME)
    assert task.result().code is Code.CONTAINER_GONE


async def test_one_whose_log_the_engine_fails_to_give_does_not_run_on() -> None:
    engine = FakeEngine()
    engine.fail_next("logs", Code.STEP_FAILED, "the log is broken")
    error = await _caught(run(Bench(engine), job("sleep=60")))
    assert error.message == "the log is broken"
    assert not engine.everything


async def test_cancel_ends_and_removes_it_and_keeps_its_last_words() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.01*1000")
    await interrupted(bench, values, handle)
    code = await bench.step("container.job", values).end(handle, stop())
    assert code == 143
    assert not engine.everything
    lines = handle.output.decode().splitlines()
    assert lines == [f"tick {n + 1}" for n in range(len(lines))]


async def test_one_that_does_not_heed_the_signal_is_killed_after_its_grace() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("ignore-term", "tick=0.01*1000")
    await interrupted(bench, values, handle)
    code = await bench.step("container.job", values).end(handle, stop(policy=StopPolicy("TERM", 0.1)))
    assert code == 137
    assert not engine.everything


async def test_a_stop_command_comes_before_the_signal() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job(
        "print=up", "read", "print=saved", stdin_open=True, stop={"command": "save all", "via": "stdin", "grace": "5s"}
    )
    await interrupted(bench, values, handle, at="up")
    assert await bench.step("container.job", values).end(handle, stop()) == 0
    assert handle.output == b"up\nread: save all\nsaved\n"


async def test_a_cancel_waits_for_an_engine_that_is_away() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.01*1000")
    await interrupted(bench, values, handle)
    engine.go_away()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.step("container.job", values).end(handle, stop()))
        await asyncio.sleep(0.1)
        assert not task.done()
        engine.come_back()
    assert not engine.everything


async def test_a_killed_agent_takes_up_a_job_that_runs_without_gap_or_repeat() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.005*60", "exit=4")
    for _ in range(3):
        await interrupted(bench, values, handle, at=f"tick {len(handle.output.splitlines()) + 5}")
        handle.again()
    done = await run(bench, values, handle)
    assert done.exit_code == 4
    assert handle.output.decode().splitlines() == [f"tick {n + 1}" for n in range(60)]
    assert engine.calls.count("create") == 1


async def test_what_ended_while_no_agent_ran_is_harvested_with_its_time() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.01*20", "exit=3")
    await interrupted(bench, values, handle)
    await until(lambda: engine.everything[handle.notes["id"]].shown.ended)
    ended_at = engine.everything[handle.notes["id"]].shown.finished_at
    await asyncio.sleep(0.05)
    done = await run(bench, values, handle.again())
    assert done.exit_code == 3
    assert abs(done.ended_at - ended_at) < 0.02
    assert len(handle.output.splitlines()) == 20


async def test_an_end_that_was_noted_is_told_again_whatever_became_of_the_container() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("print=x", "exit=9")
    first = await run(bench, values, handle)
    assert await run(bench, values, handle.again()) == first
    assert handle.output == b"x\n"


async def test_one_that_was_made_and_never_started_is_started() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("print=x")
    engine.slow(0.5)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(bench, values, handle))
        await until(lambda: bool(engine.everything), every=0.005)
        task.cancel()
    engine.slow(0.0)
    assert [each.shown.state for each in engine.everything.values()] == ["created"]
    done = await run(bench, values, handle.again(same_boot=False))
    assert done.exit_code == 0
    assert handle.output == b"x\n"


async def test_one_that_cannot_be_noted_is_not_left_there() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    handle.full = True
    with pytest.raises(OSError, match="No space"):
        await run(bench, job("print=x"), handle)
    assert not engine.everything


async def test_what_may_have_run_before_a_reboot_is_lost() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.01*1000")
    await interrupted(bench, values, handle)
    engine.finish(NAME, 137)
    with pytest.raises(LostTrack):
        await run(bench, values, handle.again(same_boot=False))
    nothing = bench.handle(Attempt("task", 1, "a", 2)).again(same_boot=False)
    with pytest.raises(LostTrack):
        await run(bench, values, nothing)


async def test_one_that_is_gone_when_the_agent_is_back_is_said_to_be() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    values = job("tick=0.01*1000")
    await interrupted(bench, values, handle)
    engine.lose(NAME)
    with pytest.raises(GameNodeError, match="removed by somebody else") as caught:
        await run(bench, values, handle.again())
    assert caught.value.code is Code.CONTAINER_GONE


async def test_an_engine_that_keeps_containers_alive_may_go_away() -> None:
    engine = FakeEngine()
    engine.info = EngineInfo("docker", "1", "1", live_restore=True)
    handle = Bench(engine).handle()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(Bench(engine), job("tick=0.01*30", "exit=5"), handle))
        await until(lambda: b"tick 3" in handle.output, every=0.005)
        engine.go_away()
        await asyncio.sleep(0.1)
        engine.come_back()
    assert (task.result().exit_code, task.result().error) == (5, None)
    assert len(handle.output.splitlines()) == 30


async def test_what_ends_while_its_engine_is_away_and_survives_it_may_lack_output_and_says_so() -> None:
    engine = FakeEngine()
    engine.info = EngineInfo("docker", "1", "1", live_restore=True)
    handle = Bench(engine).handle()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(Bench(engine), job("print=up", "sleep=60"), handle))
        await until(lambda: handle.output == b"up\n", every=0.005)
        engine.go_away()
        engine.finish(NAME, 3)
        engine.come_back()
    assert (task.result().exit_code, task.result().error) == (3, None)
    assert "output may be missing" in handle.said[-1]


async def test_one_whose_engine_went_away_while_it_started_is_lost_and_nothing_of_it_is_left() -> None:
    engine = FakeEngine()
    engine.fail_next("start", Code.ENGINE_UNAVAILABLE)
    with pytest.raises(LostTrack, match="it may have run"):
        await run(Bench(engine), job("exit=0"))
    assert engine.calls.count("start") == 1, "it is not for us to run it twice"
    assert not engine.everything


async def test_one_that_an_earlier_start_has_left_unfit_is_lost_too() -> None:
    engine = FakeEngine()
    engine.fail_next("start", Code.STATE_CONFLICT, "task: already exists", HalfStarted)
    with pytest.raises(LostTrack, match="already exists"):
        await run(Bench(engine), job("exit=0"))
    assert not engine.everything


async def test_an_engine_that_was_away_before_it_was_asked_to_start_has_not_started_it() -> None:
    engine = FakeEngine()
    engine.fail_next("start", Code.ENGINE_UNAVAILABLE, kind=NotAsked)
    assert (await run(Bench(engine), job("exit=5"))).exit_code == 5
    assert (engine.calls.count("create"), engine.calls.count("start")) == (1, 2)


@pytest.mark.parametrize("announced", [False, True], ids=["crash", "clean stop"])
async def test_one_that_goes_down_with_its_engine_says_so(announced: bool) -> None:
    engine = FakeEngine()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(Bench(engine), job("print=up", "sleep=60")))
        await until(lambda: any(each.log for each in engine.everything.values()), every=0.005)
        await asyncio.sleep(0.05)
        if announced:  # it tells of the end before it is gone itself
            engine.closing = True
            engine.finish(NAME, 0)
        engine.go_away(end=True)
        await asyncio.sleep(0.05)
        engine.come_back()
    done = task.result()
    assert done.error is not None
    assert done.error.code is Code.ENGINE_UNAVAILABLE
    assert done.exit_code == (0 if announced else 137)


async def test_an_outage_long_ago_is_not_blamed() -> None:
    engine = FakeEngine()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(Bench(engine), job("print=up", "sleep=1", "exit=6")))
        await until(lambda: any(each.log for each in engine.everything.values()), every=0.005)
        engine.go_away()
        engine.come_back()
    assert (task.result().exit_code, task.result().error) == (6, None)


async def test_what_a_lost_assignment_left_makes_room_and_a_foreign_one_does_not() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    await interrupted(bench, job("tick=0.01*1000"), bench.handle())
    old = engine.everything.copy()
    second = bench.handle(Attempt("task", 2, "a", 1))
    assert (await run(bench, job("exit=0"), second)).exit_code == 0
    assert all(each.gone for each in old.values())
    await engine.create(ContainerSpec(name="mine", image=IMAGE))
    with pytest.raises(GameNodeError, match="not made by GameNode") as caught:
        await run(bench, job("exit=0", name="mine", replace=True), bench.handle(Attempt("task", 3, "a", 1)))
    assert caught.value.code is Code.NAME_CONFLICT


async def test_one_that_could_not_be_removed_is_removed_later() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    engine.fail_next("remove", Code.ENGINE_UNAVAILABLE)
    assert (await run(bench, job("exit=0"))).exit_code == 0
    assert bench.tools.wishes.leftover == set(engine.everything)


async def _caught(work: Any) -> GameNodeError:
    with pytest.raises(GameNodeError) as caught:
        await work
    return caught.value
