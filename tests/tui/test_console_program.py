"""`gamenode-console` as a program: in a real terminal, on a real server, driven by keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fcntl import ioctl
from pathlib import Path

import psutil
import pyte
import pytest

from support.cluster import running_cluster
from support.waiting import until

COLUMNS, LINES = 100, 30


class Terminal:
    """A pseudo-terminal with a program in it, and the screen that a person would see."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 65536):
                self.raw += data
                # pyte does not know the private sequences of newer terminals that end in other letters.
                self._stream.feed(data)

    @property
    def text(self) -> str:
        self.read()
        return "\n".join(self.screen.display)

    async def press(self, keys: str) -> None:
        """At a quick person's pace: keys that come in one piece all go to the pane that had the focus."""
        for key in keys:
            os.write(self.master, key.encode())
            await asyncio.sleep(0.05)

    async def shows(self, words: str) -> None:
        await until(lambda: words in self.text, seconds=20, what=f"{words!r} on the screen")


@asynccontextmanager
async def terminal(data_dir: Path, home: Path, *flags: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    os.set_blocking(master, False)
    env = {**os.environ, "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(home)}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "gamenode_console.program", "--data-dir", str(data_dir), *flags],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0) and None,
    )
    os.close(slave)
    found = Terminal(process, master)
    try:
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


async def test_a_run_is_started_and_its_log_is_read_by_keyboard(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        async with terminal(cluster.data_dir, tmp_path) as tty:
            await tty.shows("eu-1")
            await tty.press(":trigger run-command eu-1\r")
            await tty.shows("The command line that sh runs")
            await tty.press("\techo it works && sleep 600\r")
            await tty.shows("would run on 1 node(s): eu-1")
            await tty.press("\r")
            await tty.shows("Run run-command")
            await tty.shows("running")
            await tty.press("l")
            await tty.shows("it works")
            await tty.press("q")
            await tty.shows("command=echo")
            await tty.press("X")
            await tty.shows("Cancel run-command")
            await tty.press("y")
            await tty.shows("cancelled")
            await tty.press("Q")
            await tty.shows("Leave the console")
            await tty.press("\r")
            assert await asyncio.to_thread(tty.process.wait, 10) == 0
            tty.read()
            assert b"\x1b[?1049l" in tty.raw, "the terminal gets its own screen back"
            assert b"\x1b[?25h" in tty.raw, "and its cursor"
        nodes = await gateway.state.list_nodes()
        assert [node.name for node in nodes] == ["eu-1"], "leaving stops nothing"


async def test_a_terminal_that_goes_away_ends_the_console_and_nothing_else(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        async with terminal(cluster.data_dir, tmp_path) as tty:
            await tty.shows("eu-1")
            os.kill(tty.process.pid, signal.SIGHUP)
            await until(lambda: tty.process.poll() is not None, seconds=5, what="the console to end")
        assert (await gateway.state.status()).nodes_by_state["online"] == 1


async def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path, agents=["eu-1"]) as cluster,
        terminal(cluster.data_dir, tmp_path) as tty,
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
        [sys.executable, "-m", "gamenode_console.program", "--data-dir", str(tmp_path), *flags],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if flags == ("--help",) else 2)
