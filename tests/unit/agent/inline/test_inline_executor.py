"""Attempts that the agent carries out itself: begun once, ended once, and taken up again."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamenode_agent.engines import inline_attempt, inline_executor
from gamenode_agent.engines.inline import LostTrack, Result
from gamenode_agent.engines.inline_log import InlineLog
from gamenode_agent.engines.inline_records import Record
from gamenode_agent.supervisor.client import Phase
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.logfile import LogReader
from support.scripted_inline import KEY, PlayedAgent, Scripted, played_agent
from support.waiting import until


def stop(agent: PlayedAgent, *, force: bool = False) -> bool:
    return agent.executor.stop(KEY, force=force, code=Code.CANCELLED, reason="by a test")


async def test_a_step_ends_with_what_it_brings_and_the_next_agent_finds_the_same(tmp_path: Path) -> None:
    step = Scripted(Result(exit_code=3, outputs={"map": "oa_dm1"}), does=lambda each: each.write(b"loud\n", 2, 5.0))
    async with played_agent(tmp_path / "a") as agent:
        assert agent.start(step).phase is Phase.RUNNING
        step.go.set()
        report = await agent.end()
        assert (report.phase, report.exit_code, report.error) == (Phase.ENDED, 3, None)
        assert report.outputs == {"map": "oa_dm1"}
        assert report.log is not None
        assert (report.log.bytes, report.log.lines, report.log.holes) == (5, 1, ())
        assert 0 < report.started_at <= report.ended_at
        assert step.happened == ["run"]
        assert not stop(agent), "it is over"
    async with played_agent(tmp_path / "a") as agent:
        assert agent.found() == report
        agent.start(step)
        assert await agent.end() == report, "who asks for it again is told how it ended"
    assert step.happened == ["run"]


async def test_asking_twice_starts_once(tmp_path: Path) -> None:
    step = Scripted()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        agent.start(step)
        await agent.begun(step)
        step.go.set()
        await agent.end()
        agent.start(step)
        await until(lambda: len(agent.ended) == 2, what="the end to be told again")
    assert step.happened == ["run"]


@pytest.mark.parametrize(
    "error",
    [
        GameNodeError(Code.IMAGE_MISSING, "no image"),
        ExceptionGroup("in a group", [ExceptionGroup("of groups", [GameNodeError(Code.IMAGE_MISSING, "no image")])]),
    ],
)
async def test_a_failure_with_a_name_is_the_steps_error(tmp_path: Path, error: Exception) -> None:
    step = Scripted(error)
    step.go.set()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        assert (await agent.end()).error == Error(Code.IMAGE_MISSING, "no image")
    assert step.happened == ["run"]


async def test_a_fault_of_ours_has_a_number_and_does_not_end_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = Scripted(ZeroDivisionError("a detail"))
    step.go.set()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        error = (await agent.end()).error
    assert error is not None
    assert error.code is Code.INTERNAL
    assert "a detail" not in error.message
    number = error.message.partition("[")[2].partition("]")[0]
    assert len(number) == 8
    assert number in caplog.text
    assert "a detail" in caplog.text


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    step = Scripted(OSError(errno.ENOSPC, "No space left on device"))
    step.go.set()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        error = (await agent.end()).error
    assert error is not None
    assert error.code is Code.STORAGE_FULL


async def test_what_lost_track_is_lost_and_stays_so(tmp_path: Path) -> None:
    step = Scripted(LostTrack("the container is gone"))
    step.go.set()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        report = await agent.end()
        assert (report.phase, report.lost) == (Phase.UNKNOWN, "the container is gone")
    async with played_agent(tmp_path / "a") as agent:
        assert agent.found() == report


async def test_outputs_have_a_limit_and_only_text_that_can_be_sent(tmp_path: Path) -> None:
    long, odd = Scripted(Result(outputs={"a": "x" * (64 << 10)})), Scripted(Result(outputs={"name": "\udc80"}))
    for number, step in enumerate((long, odd)):
        step.go.set()
        async with played_agent(tmp_path / str(number)) as agent:
            agent.start(step)
            report = await agent.end()
            if step is long:
                assert report.error is not None
                assert report.error.code is Code.LIMIT_EXCEEDED
                assert report.outputs == {}
            else:
                assert report.outputs == {"name": "?"}


# -- ending ------------------------------------------------------------------------------------------------------------


async def test_a_cancel_cancels_run_and_then_ends_what_it_started(tmp_path: Path) -> None:
    step = Scripted(exit_code=143)
    step.gone.clear()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        await agent.begun(step)
        assert stop(agent)
        await until(lambda: "end" in step.happened)
        assert stop(agent), "asked again, nothing changes"
        await asyncio.sleep(0.02)
        assert agent.ended == [], "not before nothing of it is left"
        step.gone.set()
        report = await agent.end()
    assert step.happened == ["run", "cancelled", "end"]
    assert (report.phase, report.exit_code) == (Phase.ENDED, 143)
    assert report.error == Error(Code.CANCELLED, "by a test")
    assert step.stop is not None
    assert step.stop.policy.grace == 3.0


async def test_more_force_while_it_is_ending_ends_it_again_for_the_first_reason(tmp_path: Path) -> None:
    step = Scripted()
    step.gone.clear()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        await agent.begun(step)
        stop(agent)
        await until(lambda: "end" in step.happened)
        agent.executor.stop(KEY, force=True, code=Code.SUPERSEDED, reason="another one")
        await until(lambda: "end by force" in step.happened)
        step.gone.set()
        report = await agent.end()
    assert step.happened == ["run", "cancelled", "end", "end by force"]
    assert report.error == Error(Code.CANCELLED, "by a test")


async def test_one_that_has_not_begun_yet_is_ended_all_the_same(tmp_path: Path) -> None:
    step = Scripted()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        stop(agent, force=True)
        assert (await agent.end()).error == Error(Code.CANCELLED, "by a test")
    assert step.happened == ["end by force"]


async def test_its_time_limit_ends_it(tmp_path: Path) -> None:
    step = Scripted()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step, timeout=0.05)
        report = await agent.end()
    assert report.error == Error(Code.STEP_TIMEOUT, "not finished after 0.05 s", {"timeout": "0.05"})
    assert step.happened == ["run", "cancelled", "end"]


async def test_it_is_not_ended_while_the_engine_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline_attempt, "FIRST_PAUSE", 0.001)
    away = GameNodeError(Code.ENGINE_UNAVAILABLE, "the engine is away")
    step = Scripted(cannot_end=[away] * (inline_attempt.TRIES + 2))
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        stop(agent)
        report = await agent.end()
        assert report.error == Error(Code.CANCELLED, "by a test")
    with LogReader(tmp_path / "a" / "log") as log:
        assert log.read(0, 1000) == b"it cannot be ended yet: the engine is away\n", "said once"


async def test_what_can_never_be_ended_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline_attempt, "FIRST_PAUSE", 0.001)
    step = Scripted(cannot_end=[GameNodeError(Code.PERMISSION_DENIED, "not ours")] * 100)
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        stop(agent)
        report = await agent.end()
    assert (report.phase, report.lost) == (Phase.UNKNOWN, "it could not be ended: not ours")
    assert len(step.happened) == inline_attempt.TRIES


async def test_a_failure_over_the_cancel_is_not_why_it_ended(tmp_path: Path) -> None:
    class Clumsy(Scripted):
        async def run(self, attempt: object) -> Result:
            self.happened.append("run")
            try:
                await self.go.wait()
            finally:
                raise GameNodeError(Code.INTERNAL, "the cleaning up failed")

    step = Clumsy()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        await agent.begun(step)
        stop(agent)
        assert (await agent.end()).error == Error(Code.CANCELLED, "by a test")
    assert step.happened == ["run", "end"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=st.integers(0, 12), stops=st.integers(0, 12), forces=st.none() | st.integers(0, 12))
def test_an_end_and_a_stop_at_once_make_one_end(
    tmp_path_factory: pytest.TempPathFactory, ends: int, stops: int, forces: int | None
) -> None:
    async def race(folder: Path) -> None:
        step = Scripted(Result(exit_code=0), exit_code=137)
        async with played_agent(folder) as agent:
            agent.start(step)
            for turn in range(13):
                if turn == ends:
                    step.go.set()
                if turn == stops:
                    stop(agent)
                if turn == forces:
                    stop(agent, force=True)
                await asyncio.sleep(0)
            report = await agent.end()
            await asyncio.sleep(0.002)
            assert agent.ended == [report], "told once"
        ended = [each for each in step.happened if each.startswith("end")]
        if report.error is None:
            assert report.exit_code == 0
            assert step.happened == ["run"]
        else:
            assert (report.error.code, report.exit_code) == (Code.CANCELLED, 137)
            assert 1 <= len(ended) <= 2
            assert step.happened.count("run") <= 1
        async with played_agent(folder) as agent:
            assert agent.found() == report, "and the disk says the same"

    asyncio.run(race(tmp_path_factory.mktemp("race")))


# -- over the agent's end ----------------------------------------------------------------------------------------------


async def test_the_agents_end_is_not_the_steps_and_the_next_one_takes_it_up(tmp_path: Path) -> None:
    first, second = Scripted(does=lambda each: each.note(container="c1")), Scripted(Result(exit_code=4))
    async with played_agent(tmp_path / "a") as agent:
        began = agent.start(first).started_at
        await agent.begun(first)
    assert first.happened == ["run", "cancelled"], "nothing was ended"
    assert agent.ended == []
    async with played_agent(tmp_path / "a") as agent:
        found = agent.found()
        assert found is not None
        assert found.phase is Phase.INTERRUPTED
        agent.start(second, resumed=True)
        await agent.begun(second)
        assert second.handle is not None
        assert (second.handle.resumed, second.handle.same_boot) == (True, True)
        assert second.handle.notes == {"container": "c1"}
        assert second.handle.started_at == began
        second.go.set()
        assert (await agent.end()).exit_code == 4
    assert second.happened == ["run again"]


async def test_the_agents_end_in_the_middle_of_an_end_leaves_it_to_the_next_one(tmp_path: Path) -> None:
    first, second = Scripted(), Scripted(exit_code=137)
    first.gone.clear()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(first)
        await agent.begun(first)
        stop(agent)
        await until(lambda: "end" in first.happened)
    assert agent.ended == []
    async with played_agent(tmp_path / "a") as agent:
        agent.start(second, resumed=True)
        stop(agent)  # as the task says, which is being cancelled
        assert (await agent.end()).exit_code == 137
    assert second.happened == ["end"]


@pytest.mark.parametrize("noted", [True, False])
async def test_on_another_boot_its_kind_is_told_so(tmp_path: Path, noted: bool) -> None:
    first, second = Scripted(), Scripted()
    async with played_agent(tmp_path / "a") as agent:
        if noted:
            agent.start(first)
            await agent.begun(first)
    async with played_agent(tmp_path / "a", boot_id="another") as agent:
        agent.start(second, resumed=True)
        await agent.begun(second)
        assert second.handle is not None
        assert (second.handle.resumed, second.handle.same_boot) == (True, False)


async def test_a_time_limit_goes_on_while_no_agent_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline_executor, "LATE", 0.2)
    first, over, late = Scripted(), Scripted(Result(exit_code=0)), Scripted()
    for name, step in (("over", over), ("late", late)):
        async with played_agent(tmp_path / name) as agent:
            agent.start(first, timeout=0.01)
        async with played_agent(tmp_path / name) as agent:
            await asyncio.sleep(0.02)
            agent.start(step, timeout=0.01, resumed=True)
            if step is over:  # it finds at once that it had ended in time
                step.go.set()
                assert (await agent.end()).error is None
            else:
                error = (await agent.end()).error
                assert error is not None
                assert error.code is Code.STEP_TIMEOUT


async def test_an_end_that_was_while_no_agent_looked_keeps_its_time(tmp_path: Path) -> None:
    step = Scripted()
    step.go.set()
    async with played_agent(tmp_path / "a") as agent:
        ended = agent.clock.now() - 100
        step.brings = Result(exit_code=0, ended_at=ended)
        agent.start(step)
        assert (await agent.end()).ended_at == pytest.approx(ended)


@pytest.mark.parametrize("until_stopped", [False, True])
async def test_one_whose_log_cannot_be_taken_up_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until_stopped: bool
) -> None:
    first, second = Scripted(), Scripted(exit_code=137)

    async def broken(_: InlineLog) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with played_agent(tmp_path / "a") as agent:
        agent.start(first)
        await agent.begun(first)
    monkeypatch.setattr(InlineLog, "resume", broken)
    async with played_agent(tmp_path / "a") as agent:
        agent.start(second, resumed=True)
        if until_stopped:
            stop(agent)
        report = await agent.end()
        assert (report.phase, report.exit_code) == (Phase.ENDED, 137)
        assert report.error is not None
        assert report.error.code is (Code.CANCELLED if until_stopped else Code.INTERNAL)
    assert second.happened == ["end"], "nothing of what the first agent began is left"
    async with played_agent(tmp_path / "a") as agent:
        assert agent.found() == report, "its end is on disk"


async def test_one_whose_log_cannot_be_closed_has_an_end_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Scripted(Result(exit_code=0))

    async def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(InlineLog, "finish", broken)
    async with played_agent(tmp_path / "a") as agent:
        agent.start(step)
        step.go.set()
        report = await agent.end()
        assert report.error is not None
        assert (report.exit_code, report.error.code, report.log) == (0, Code.STORAGE_FULL, None)
    async with played_agent(tmp_path / "a") as agent:
        assert agent.found() == report


# -- a full disk -------------------------------------------------------------------------------------------------------


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


async def test_nothing_begins_that_cannot_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Scripted()
    async with played_agent(tmp_path / "a") as agent:
        monkeypatch.setattr(Record, "_write", full)
        with pytest.raises(OSError, match="No space"):
            agent.start(step)
        assert agent.found() is None
        monkeypatch.undo()
        agent.start(step)
        step.go.set()
        assert (await agent.end()).error is None


async def test_an_end_that_cannot_be_noted_is_told_and_found_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Scripted(Result(exit_code=2)), Scripted(Result(exit_code=2))
    first.go.set()
    second.go.set()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(first)
        monkeypatch.setattr(Record, "end", full)
        report = await agent.end()
        assert report.exit_code == 2
        assert agent.found() == report
    monkeypatch.undo()
    async with played_agent(tmp_path / "a") as agent:
        agent.start(second, resumed=True)
        assert (await agent.end()).exit_code == 2
    assert second.happened == ["run again"]
