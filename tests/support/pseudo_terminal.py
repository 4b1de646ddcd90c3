"""A program in a pseudo-terminal, and the screen that a person would see: read only when it is looked at.

So a terminal that stops reading is one at which nobody looks.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pyte

from support.waiting import until

COLUMNS, LINES = 100, 30
#: The real program.
CONSOLE = (sys.executable, "-m", "gamenode_console.program")
#: What pyte takes for text: sequences with `>`, `<` or `=` in front.
_UNKNOWN = re.compile(rb"\x1b\[[<=>][0-9;]*[a-z]")


class Terminal:
    """The master's side."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int, size: tuple[int, int]) -> None:
        self.process = process
        self._master = master
        self._slave = slave
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        #: How it was set before the program began.
        self.before = self.settings

    def read(self) -> None:
        """Takes all that there is."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._master, 1 << 16):
                self.raw += data
                self._stream.feed(_UNKNOWN.sub(b"", data))

    @property
    def text(self) -> str:
        """What is on the screen now."""
        self.read()
        return "\n".join(self.screen.display)

    @property
    def settings(self) -> list[Any]:
        """How the terminal is set: cooked, or as a screen wants it."""
        return termios.tcgetattr(self._slave)

    def type(self, keys: str) -> None:
        """All at once, as a paste comes."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """The kernel sends SIGWINCH."""
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def hang_up(self) -> None:
        """Nobody is at the other end any more."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    async def shows(self, words: str, *, seconds: float = 20.0) -> None:
        """Waits for a text on the screen."""
        try:
            await until(lambda: words in self.text, seconds=seconds)
        except AssertionError:
            raise AssertionError(f"{words!r} is not on the screen:\n{self.text}") from None

    async def focuses(self, label: str) -> None:
        """Waits for the cursor in the field below a label."""

        def look() -> bool:
            above = self.text.splitlines()[self.screen.cursor.y - 1]
            return label in above

        await until(look, what=f"the cursor below {label!r}")

    async def ends(self, *, seconds: float = 20.0) -> int:
        """Waits for the program's end; its exit code."""

        def look() -> bool:
            if self._master >= 0:
                self.read()
            return self.process.poll() is not None

        await until(look, seconds=seconds, what="the program to end")
        assert self.process.returncode is not None
        return self.process.returncode

    def close(self) -> None:
        """Ends the program too."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self._master, self._slave):
            if fd >= 0:
                os.close(fd)


@asynccontextmanager
async def terminal(
    argv: Sequence[str], *, env: Mapping[str, str | None], size: tuple[int, int] = (COLUMNS, LINES)
) -> AsyncIterator[Terminal]:
    """Starts a program. `env` is laid over a terminal's usual one; None takes a variable away."""
    master, slave = pty.openpty()
    columns, lines = size
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(master, False)
    ours = ("NO_COLOR", "COLORTERM", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "LC_ALL", "LC_CTYPE")
    usual = {name: value for name, value in os.environ.items() if name not in ours}
    laid: dict[str, str | None] = {**usual, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env}
    process = subprocess.Popen(
        # Not by `preexec_fn`: what runs between fork and exec in a process with gRPC's threads may hang.
        ["setsid", "--ctty", *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={name: value for name, value in laid.items() if value is not None},
    )
    found = Terminal(process, master, slave, size)
    try:
        yield found
    finally:
        found.close()


def console_words(data_dir: Path, *flags: str) -> list[str]:
    """The command line of a console."""
    return [*CONSOLE, "--data-dir", str(data_dir), *flags]
