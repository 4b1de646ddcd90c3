"""One face before processes and what the agent carries out itself; here without any supervisor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamenode_agent.clock import BootClock
from gamenode_agent.engines.attempts import Attempts
from gamenode_agent.engines.inline import InlineRequest, Result
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptReport, Phase
from gamenode_pipelines.errors import Code, GameNodeError
from support.scripted_inline import KEY, Scripted
from support.waiting import until


def made(folder: Path, group: asyncio.TaskGroup, ended: list[AttemptReport]) -> Attempts:
    return Attempts(
        folder,
        group=group,
        clock=BootClock.from_wall(),
        boot_id="boot",
        on_ended=ended.append,
        on_output=lambda _key, _size: None,
        on_lost=lambda: None,
        timeout=1.0,
    )


async def test_what_the_agent_carries_out_itself_needs_no_supervisor(tmp_path: Path) -> None:
    ended: list[AttemptReport] = []
    step = Scripted(Result(outputs={"map": "dm1"}), does=lambda each: each.say("here"))
    async with asyncio.TaskGroup() as group:
        attempts = made(tmp_path, group, ended)
        request = InlineRequest(KEY, attempts.prepare(KEY), step)
        assert (await attempts.start(request)).phase is Phase.RUNNING
        await until(lambda: step.happened)
        assert (await attempts.recover({KEY: "boot"}))[KEY].phase is Phase.RUNNING
        step.go.set()
        await until(lambda: ended)
        assert (await attempts.recover({KEY: "boot"}))[KEY] == ended[0]
        assert attempts.log_path(KEY).read_bytes() == b"here\n"
        attempts.forget(KEY)
        assert not Path(attempts.directory(KEY)).exists()
        await attempts.close()


async def test_a_stop_goes_to_whatever_carries_it_out(tmp_path: Path) -> None:
    ended: list[AttemptReport] = []
    step = Scripted()
    async with asyncio.TaskGroup() as group:
        attempts = made(tmp_path, group, ended)
        await attempts.start(InlineRequest(KEY, attempts.prepare(KEY), step))
        assert await attempts.stop(KEY, force=True, code=Code.CANCELLED, reason="enough")
        await until(lambda: ended)
        with pytest.raises(GameNodeError) as caught:
            await attempts.stop(Attempt("task", 1, "process", 1), force=True, code=Code.CANCELLED, reason="enough")
        assert caught.value.code is Code.SUPERVISOR_LOST, "of a process only the supervisor can tell"
        await attempts.close()


async def test_folders_that_nobody_needs_are_swept_whoever_used_them(tmp_path: Path) -> None:
    ended: list[AttemptReport] = []
    other = Attempt("task", 1, "b", 1)
    async with asyncio.TaskGroup() as group:
        attempts = made(tmp_path, group, ended)
        for key in (KEY, other):
            step = Scripted()
            step.go.set()
            await attempts.start(InlineRequest(key, attempts.prepare(key), step))
        await until(lambda: len(ended) == 2)
        attempts.sweep([KEY])
        assert Path(attempts.directory(KEY)).exists()
        assert not Path(attempts.directory(other)).exists()
        await attempts.close()
