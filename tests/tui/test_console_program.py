"""`gamenode-console` as a program: in a real terminal, on a real server, driven by keys."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from support.cluster import running_cluster
from support.pseudo_terminal import console_words, terminal


async def test_a_run_is_started_and_its_log_is_read_by_keyboard(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        async with terminal(console_words(cluster.data_dir), env={"HOME": str(tmp_path)}) as tty:
            await tty.shows("eu-1")
            tty.type(":")
            await tty.shows("a command; tab completes")
            tty.type("trigger run-command eu-1\r")
            await tty.shows("The command line that sh runs")
            tty.type("\t")
            await tty.focuses("The command line that sh runs")
            tty.type("echo it works && sleep 600\r")
            await tty.shows("would run on 1 node(s): eu-1")
            tty.type("\r")
            await tty.shows("Run run-command")
            await tty.shows("running")
            tty.type("l")
            await tty.shows("it works")
            tty.type("q")
            await tty.shows("command=echo")
            tty.type("X")
            await tty.shows("Cancel run-command")
            tty.type("y")
            await tty.shows("cancelled")
            tty.type("Q")
            await tty.shows("Leave the console")
            tty.type("\r")
            assert await tty.ends() == 0
            assert b"\x1b[?1049l" in tty.raw, "the terminal gets its own screen back"
            assert b"\x1b[?25h" in tty.raw, "and its cursor"
        nodes = await gateway.state.list_nodes()
        assert [node.name for node in nodes] == ["eu-1"], "leaving stops nothing"


async def test_a_terminal_that_goes_away_ends_the_console_and_nothing_else(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        async with terminal(console_words(cluster.data_dir), env={"HOME": str(tmp_path)}) as tty:
            await tty.shows("eu-1")
            os.kill(tty.process.pid, signal.SIGHUP)
            await tty.ends(seconds=5)
        assert (await gateway.state.status()).nodes_by_state["online"] == 1


async def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path, agents=["eu-1"]) as cluster,
        terminal(console_words(cluster.data_dir), env={"HOME": str(tmp_path)}) as tty,
    ):
        await tty.shows("eu-1")
        await tty.shows("attached")
        await cluster.server.kill()
        await tty.shows("server lost")
        assert "eu-1" in tty.text, "what was known stays"
        await cluster.server.start()
        await tty.shows("attached")
        assert psutil.pid_exists(tty.process.pid)


@pytest.mark.parametrize(
    ("flags", "said"), [((), "needs a terminal"), (("--nonsense",), "No such option"), (("--help",), "--read-only")]
)
def test_what_cannot_be_done_is_told_in_a_line(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        console_words(tmp_path, *flags),
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if flags == ("--help",) else 2)
