"""A step that is ended by a command of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gamenode_agent.supervisor import protocol
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.supervised import Supervised, alive, supervised

#: Ends when its folder has a file of this name; the signal makes it say so and go on.
SERVER = "trap 'echo asked' TERM; echo up; until [ -e stop ]; do sleep 0.02; done; echo saved; exit 4"


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Supervised]:
    async with supervised(tmp_path) as host:
        yield host


async def test_the_command_ends_it_and_no_signal_comes(host: Supervised) -> None:
    report = await host.start(
        SERVER,
        stop=StopPolicy("TERM", 20.0),
        env={"OWN": "kept"},
        stop_argv=("sh", "-c", 'echo "$OWN $SAID $GAMENODE_STEP_ID"; touch stop'),
        stop_env={"SAID": "bye"},
    )
    await host.logged(report.key, b"up")
    assert await host.client.stop(report.key, reason="cancelled by alice")
    end = await host.end_of(report.key)
    assert end.exit_code == 4
    assert end.error is not None
    assert end.error.code is Code.CANCELLED
    log = host.log(report.key)
    assert b"kept bye step\n" in log
    assert b"saved\n" in log
    assert b"asked" not in log


async def test_what_it_does_not_end_gets_the_signal_and_then_the_kill(host: Supervised) -> None:
    report = await host.start(SERVER, stop=StopPolicy("TERM", 0.2), stop_argv=("sh", "-c", "echo $$; exec sleep 60"))
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    end = await host.end_of(report.key)
    assert end.exit_code == 137
    log = host.log(report.key)
    assert b"asked\n" in log
    (helper,) = (int(line) for line in log.split() if line.isdigit())
    assert not alive(helper), "the command is ended with its step"


async def test_a_time_limit_asks_it_too(host: Supervised) -> None:
    report = await host.start(SERVER, timeout=0.2, stop=StopPolicy("TERM", 20.0), stop_argv=("touch", "stop"))
    end = await host.end_of(report.key)
    assert end.exit_code == 4
    assert end.error is not None
    assert end.error.code is Code.STEP_TIMEOUT


async def test_force_does_not_wait_for_it(host: Supervised) -> None:
    report = await host.start(SERVER, stop=StopPolicy("TERM", 60.0), stop_argv=("sleep", "60"))
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    await host.client.stop(report.key, force=True)
    assert (await host.end_of(report.key)).exit_code == 137


async def test_one_that_cannot_be_started_leaves_it_to_the_signal(host: Supervised) -> None:
    report = await host.start(
        "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done",
        stop=StopPolicy("TERM", 20.0),
        stop_argv=("/nowhere/at/all",),
    )
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    assert (await host.end_of(report.key)).exit_code == 5
    assert b"the stop command cannot be started: " in host.log(report.key)


async def test_an_older_supervisor_is_not_asked_for_what_it_would_forget(
    host: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.client, "_version", protocol.VERSION_MIN)
    with pytest.raises(GameNodeError) as refused:
        await host.start("true", stop_argv=("true",))
    assert refused.value.code is Code.VERSION_MISMATCH
