"""A whole shift at the console, in tmux and by keyboard only: a game server is started, a run is cancelled, another one
is left running, and the next console shows the same.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

import pytest

from support.cluster import run_to_end
from support.console_host import Host
from support.docker_engine import DockerEngineProcess
from support.pseudo_terminal import console_words
from support.real_games import archive, cache_folder, free_port
from support.tmux import Tmux, tmux

ROOT = Path(__file__).parents[2]
LISTEN = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")


async def command(window: Tmux, line: str) -> None:
    """Types a command."""
    await window.press(":")
    await window.shows("a command; tab completes")
    await window.press(line, "enter")


async def run_a_shell_command(window: Tmux, line: str) -> None:
    await command(window, "trigger run-command *")
    await window.shows("The command line that sh runs")
    await window.press("tab", line, "enter")
    await window.shows("would run on 1 node(s)")
    await window.press("enter")
    await window.shows_no_more("Start a pipeline")
    await window.shows("Run run-command", f"command={line}", "running")


async def shift(host: Host, window: Tmux) -> None:
    """What is done at every size: cancel a long run, leave another one running."""
    await run_a_shell_command(window, "echo first && sleep 600")
    await window.press("X")
    await window.shows("Cancel run-command")
    await window.press("y")
    await window.shows("cancelled")
    await run_a_shell_command(window, "echo second && sleep 600")
    await window.shows("second")
    await window.press("Q")
    await window.shows("leave it running")
    await window.press("enter")
    assert await window.ends() == 0
    assert "goes on" in await window.text()


async def next_console(host: Host, size: tuple[int, int]) -> None:
    """Another console, which shows what the first one left."""
    async with tmux(console_words(host.data_dir), env=host.env, size=size) as window:
        await window.shows("attached", "1 online", "running", "cancelled")
        await window.press("4")
        await window.shows("Runs ")
        await window.press("Q")
        await window.shows("The server goes on by itself")
        await window.press("enter")
        assert await window.ends() == 0


async def test_a_shift_in_a_small_window(host: Host) -> None:
    words = console_words(host.data_dir, "--with-agent", *LISTEN)
    async with tmux(words, env=host.env, size=(80, 24)) as window:
        await window.shows("embedded", "1 online", seconds=40)
        await shift(host, window)
    await next_console(host, (80, 24))


@pytest.mark.timeout(900)  # the first run fetches the game
async def test_a_shift_with_a_game_server(host: Host, docker_engine: DockerEngineProcess, tmp_path: Path) -> None:
    await asyncio.to_thread(archive, "teeworlds")
    host.env["GAMENODE_DOCKER_HOST"] = docker_engine.address
    name, port = f"tw-{secrets.token_hex(3)}", str(free_port())
    words = console_words(host.data_dir, "--with-agent", *LISTEN)
    try:
        async with tmux(words, env=host.env, size=(120, 40)) as window:
            await window.shows("embedded", "1 online", seconds=40)
            build = ["pipeline", "run", "build-game-image", "-p", "game=teeworlds", "-p", f"cache={cache_folder()}"]
            gamenode = [sys.executable, "-m", "gamenode_console", "--data-dir", str(host.data_dir)]
            await run_to_end([*gamenode, *build, "--wait"], env=host.env, code=0)
            await command(window, "trigger deploy-game-server *")
            await window.shows("Which game")
            await window.press("tab", "enter")
            await window.shows("teeworlds")
            await window.press("down", "enter")
            await window.shows_no_more("openarena")
            await window.press("tab", name, "tab", port, *["tab"] * 8, str(tmp_path / "settings"))
            await window.press("enter")
            await window.shows("would run on 1 node(s)")
            await window.press("enter")
            await window.shows("Run deploy-game-server")
            await window.shows("✓", "succeeded", seconds=60)
            await command(window, f"logs {await _node(window)}/{name}")
            await window.shows("server name is")
            await shift(host, window)
        await next_console(host, (120, 40))
    finally:
        await asyncio.to_thread(docker_engine.clean)


async def _node(window: Tmux) -> str:
    """The name of the only node, from the table of a run's nodes."""
    (line,) = [line for line in (await window.text()).splitlines() if " succeeded " in line and "✓" in line]
    return line.split()[0]


async def test_make_run_opens_the_console_with_an_agent(host: Host) -> None:
    words = ["make", "-C", str(ROOT), "run", f"DATA={host.data_dir}"]
    async with tmux(words, env=host.env, size=(100, 30)) as window:
        await window.shows("embedded", "1 online", seconds=60)
        await window.press("Q")
        await window.shows("stop the server")
        await window.press("enter")
        assert await window.ends() == 0
    stop = ["make", "-C", str(ROOT), "stop", f"DATA={host.data_dir}"]
    await run_to_end(stop, env=host.env, code=0)
    assert not host.left
