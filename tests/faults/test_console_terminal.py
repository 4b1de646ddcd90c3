"""A console with the server in it, on a terminal that stalls, vanishes, or loses its console: the work goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from support.cluster import run_to_end, settled, start_run, state_of
from support.console_host import WAITS, Host
from support.pseudo_terminal import CONSOLE, Terminal, terminal
from support.waiting import until

#: Says much, and ends by what the test does.
TALKS = """
pipeline: talks
params: {file: {type: string}}
steps:
  - id: talk
    run: until [ -e "${{ params.file }}" ]; do seq 1 37; sleep 0.05; done; echo that was all
"""
#: Seconds for which nobody reads: twice as long as an agent may be silent before somebody asks.
STALL = 4.0
#: A console whose help breaks.
BREAKS = """
from gamenode_console.program import main, showing

show = showing.show

def breaking(stage):
    from gamenode_console.app import ConsoleApp
    ConsoleApp.action_help = lambda self: 1 / 0
    return show(stage)

showing.show = breaking
main()
"""


def opened(
    host: Host, argv: Sequence[str] = CONSOLE, size: tuple[int, int] = (160, 50)
) -> AbstractAsyncContextManager[Terminal]:
    """A console with a server and an agent of its own."""
    flags = ["--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0", "--with-agent"]
    return terminal([*argv, "--data-dir", str(host.data_dir), *flags], env=host.env, size=size)


async def running(host: Host, gateway: Gateway, tty: Terminal, pipeline: str) -> str:
    """The id of a run that runs on the console's agent."""
    await tty.shows("1 online", seconds=60)
    run = await start_run(gateway, pipeline, file=str(host.directory / "go on"))

    async def runs() -> bool:
        return state_of(await gateway.pipelines.get_run(run.run.id)) is RunState.RUNNING

    await until(runs, what="the step to run")
    return str(run.run.id)


async def test_a_terminal_that_stops_reading_holds_up_nobody_and_catches_up(host: Host) -> None:
    host.env |= {"GAMENODE_SUSPECT": "2s", "GAMENODE_OFFLINE": "6s"}
    loop = asyncio.get_running_loop()
    async with opened(host) as tty:
        await tty.shows("● embedded", seconds=60)
        async with host.gateway() as gateway:
            run = await running(host, gateway, tty, TALKS)
            tty.type(":")
            await tty.shows("a command; tab completes")
            tty.type(f"logs {run}\r")
            await tty.shows("following")
            begin, slowest, answers = loop.time(), 0.0, 0
            while loop.time() - begin < STALL:  # nobody reads the terminal from here on
                asked = loop.time()
                assert (await gateway.state.status()).nodes_by_state == {"online": 1}
                slowest, answers = max(slowest, loop.time() - asked), answers + 1
                await asyncio.sleep(0.1)
            assert slowest < 1.0
            tty.type("4")
            (host.directory / "go on").touch()
            assert state_of(await settled(gateway, run)) is RunState.SUCCEEDED, "while still nobody reads"
            words = ["-m", "gamenode_console", "--data-dir", str(host.data_dir), "run", "ls"]
            assert "succeeded" in (await run_to_end([sys.executable, *words], env=host.env))[0]
            kinds = {event.type async for batch in gateway.state.watch_events() for event in batch.events}
            assert "node.online" in kinds
            assert "node.suspect" not in kinds, "no heartbeat was missed"
        seen = len(tty.raw)
        # Promised within two seconds; a machine that does much else may take twice that.
        await tty.shows("talks", seconds=4)
        await tty.shows("succeeded", seconds=4)
        await tty.shows("link slow", seconds=4)
        assert "Runs" in tty.text.splitlines()[0], "the key was heard"
        assert len(tty.raw) - seen < 300_000, "what nobody could see was not drawn"


async def test_a_terminal_that_is_closed_leaves_the_work_to_the_standby(host: Host) -> None:
    async with opened(host) as tty:
        await tty.shows("● embedded", seconds=60)
        async with host.gateway() as gateway:
            run = await running(host, gateway, tty, WAITS)
        await until(lambda: host.standby, what="the standby")
        tty.hang_up()
        await tty.ends(seconds=5)
        await _goes_on(host, run, tty.process.pid)
    assert "Traceback" not in (host.data_dir / "console.log").read_text()


async def test_a_console_that_breaks_leaves_the_work_to_the_standby(host: Host) -> None:
    async with opened(host, (sys.executable, "-c", BREAKS)) as tty:
        await tty.shows("● embedded", seconds=60)
        async with host.gateway() as gateway:
            run = await running(host, gateway, tty, WAITS)
        await until(lambda: host.standby, what="the standby")
        tty.type("?")
        assert await tty.ends() == 1
        assert "the screen broke (ZeroDivisionError: division by zero)" in tty.text
        assert tty.settings == tty.before
        await _goes_on(host, run, tty.process.pid)


async def _goes_on(host: Host, run: str, pid: int) -> None:
    """Another server is there, and the run was never interrupted."""
    await host.served_by_another(pid)
    async with host.gateway() as gateway:
        (host.directory / "go on").touch()
        ended = await settled(gateway, run)
    assert state_of(ended) is RunState.SUCCEEDED
    assert [task.fence for task in ended.tasks] == [1], "it was never assigned again"
