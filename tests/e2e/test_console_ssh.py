"""The console over a real ssh connection that is cut in the middle: the run goes on, and so does the server."""

from __future__ import annotations

import time
from pathlib import Path

from gamenode_pipelines.states import RunState
from support.cluster import settled, start_run, state_of
from support.console_host import WAITS, Host
from support.pseudo_terminal import console_words, terminal
from support.sshd import sshd

LISTEN = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")


async def test_a_connection_that_is_cut_ends_no_run_and_a_server_is_back(host: Host, tmp_path: Path) -> None:
    settings = {name: value for name, value in host.env.items() if name.startswith(("GAMENODE_", "PYTHON", "HOME"))}
    settings["LANG"] = "C.UTF-8"
    async with sshd(tmp_path / "sshd") as daemon:
        opened = daemon.words(console_words(host.data_dir, "--with-agent", *LISTEN), env=settings)
        async with terminal(opened, env={}) as first:
            await first.shows("embedded", seconds=30)
            await first.shows("1 online", seconds=30)
            async with host.gateway() as gateway:
                run = (await start_run(gateway, WAITS, file=str(tmp_path / "go on"))).run.id
            await first.shows("waits")
            serving = int(host.server_file["pid"])
            began = time.monotonic()
            assert daemon.cut() == 1
            await host.served_by_another(serving)
            assert time.monotonic() - began < 10
            await first.ends()
        again = daemon.words(console_words(host.data_dir), env=settings)
        async with terminal(again, env={}) as second:
            await second.shows("attached")
            await second.shows("waits")
            await second.shows("running")
            async with host.gateway() as gateway:
                (tmp_path / "go on").touch()
                ended = await settled(gateway, run)
            assert state_of(ended) is RunState.SUCCEEDED
            assert [task.fence for task in ended.tasks] == [1], "it was never given out again"
            await second.shows("succeeded")
            second.type("Q")
            await second.shows("Leave the console")
            second.type("\r")
            assert await second.ends() == 0
