"""Consoles that embed the server, and how they end: the runs go on, and a server is there."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from support.cluster import settled, start_run, state_of
from support.console_host import WAITS, Host, says
from support.waiting import until


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP, signal.SIGUSR2], ids=["killed", "hung up", "left"])
async def test_whatever_ends_the_console_the_run_goes_on_and_a_server_is_back(host: Host, how: signal.Signals) -> None:
    console = await host.open_console("--with-agent", "true")
    before = host.server_file
    async with host.gateway() as gateway:
        await until(lambda: _online(gateway), seconds=30, what="the agent that the console started")
        run = await start_run(gateway, WAITS, file=str(host.directory / "go on"))
        await until(lambda: _is_running(gateway, run.run.id), what="the step to run")
        await until(lambda: host.standby, what="the standby")
    await console.kill(how)
    after = await host.served_by_another(console.pid)
    assert [after[key] for key in ("listen", "join_listen")] == [before[key] for key in ("listen", "join_listen")]
    second = host.console()
    await second.start(wait=False)
    assert await says(second, "live") == "live attached"
    async with host.gateway() as gateway:
        assert state_of(await gateway.pipelines.get_run(run.run.id)) is RunState.RUNNING
        (host.directory / "go on").touch()
        ended = await settled(gateway, run.run.id)
        assert state_of(ended) is RunState.SUCCEEDED
        assert [task.fence for task in ended.tasks] == [1], "it was never assigned again"


async def test_a_terminal_that_is_lost_is_let_go_within_five_seconds(host: Host) -> None:
    console = await host.open_console()
    assert console.process is not None
    console.process.send_signal(signal.SIGHUP)
    assert await asyncio.wait_for(console.process.wait(), 5) == 0


@pytest.mark.parametrize("how", ["by its operator", "at a hang-up that says so", "from outside"])
async def test_a_server_that_is_stopped_leaves_nobody(host: Host, how: str) -> None:
    console = await host.open_console(*(("--on-hangup", "exit") if how == "at a hang-up that says so" else ()))
    await until(lambda: host.standby, what="the standby")
    if how == "by its operator":
        await console.kill(signal.SIGUSR1)
    elif how == "at a hang-up that says so":
        await console.kill(signal.SIGHUP)
    else:
        said = await host.command("gamenode_server", "stop", "--data-dir", str(host.data_dir))
        assert f"(pid {console.pid})" in said
        assert "with the console that it ran in and its standby" in said
    await until(lambda: not host.left, what="everybody to be gone")
    assert host.server_file == {}
    # And the next console starts as if nothing had been.
    again = host.console()
    await again.start(wait=False)
    assert await says(again, "live") == "live embedded"
    await until(lambda: host.standby, what="its standby")


async def test_down_stops_a_console_with_its_server_and_a_standby_that_serves(host: Host) -> None:
    console = await host.open_console()
    down = ("gamenode_console", "--data-dir", str(host.data_dir), "down")
    assert "server: stopped, with the console" in await host.command(*down)
    assert not host.left
    console = await host.open_console()
    await until(lambda: host.standby, what="the standby")
    await console.kill(signal.SIGKILL)
    await host.served_by_another(console.pid)
    assert "server: stopped\n" in await host.command(*down)
    assert not host.left


async def test_consoles_that_start_at_once_share_one_server(host: Host) -> None:
    consoles = [host.console() for _ in range(3)]
    for console in consoles:
        await console.start(wait=False)
    said = [await says(console, "live") for console in consoles]
    assert sorted(said) == ["live attached", "live attached", "live embedded"]
    first = consoles[said.index("live embedded")]
    assert host.server_file["pid"] == first.pid
    await until(lambda: host.standby, what="the standby")
    await first.kill(signal.SIGKILL)
    await host.served_by_another(first.pid)
    for console in consoles:
        if console is not first:
            assert console.runs
            await until(lambda: _attached(host), what="the others to be answered")


async def test_a_standby_is_small_and_replaced_when_it_goes(host: Host) -> None:
    await host.open_console()
    standby = await until(lambda: host.standby, what="the standby")
    await until(lambda: (host.data_dir / "standby.lock").read_text().strip() == str(standby.pid), what="it to wait")
    assert standby.memory_info().rss < 14 << 20
    assert standby.terminal() is None
    assert os.getsid(standby.pid) == standby.pid, "no terminal's end reaches it"
    standby.kill()
    await until(lambda: (now := host.standby) and now.pid != standby.pid, what="another one")


async def test_a_server_of_its_own_is_on_loopback_until_it_is_told_otherwise(host: Host) -> None:
    console = host.console(listen=False)
    await console.start(wait=False)
    await says(console, "live")
    assert all(host.server_file[key].startswith("127.0.0.1:") for key in ("listen", "join_listen"))
    settings = json.loads((host.data_dir / "server" / "standby.json").read_text())["server"]
    assert settings["listen"] == host.server_file["listen"], "the standby takes the ports as they are"
    assert (host.data_dir / "server" / "standby.json").stat().st_mode & 0o777 == 0o600


async def _online(gateway: Gateway) -> bool:
    return bool((await gateway.state.status()).nodes_by_state.get("online"))


async def _is_running(gateway: Gateway, run_id: str) -> bool:
    return state_of(await gateway.pipelines.get_run(run_id)) is RunState.RUNNING


async def _attached(host: Host) -> bool:
    async with host.gateway() as gateway:
        return bool((await gateway.administration.who_am_i()).cluster_id)
