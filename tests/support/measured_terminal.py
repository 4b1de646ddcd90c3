"""A program in a pseudo-terminal, with the time at which each of its bytes came, and what it takes of a processor.

A thread of its own reads, so that the program never waits for whoever measures it.
"""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl

import psutil

COLUMNS, LINES = 120, 40


@dataclass(frozen=True, slots=True)
class Spent:
    """What a program did in some seconds."""

    seconds: float
    processor: float
    written: int

    @property
    def core_percent(self) -> float:
        """Its share of one core."""
        return 100 * self.processor / self.seconds

    @property
    def kb_per_s(self) -> float:
        """What it wrote to the terminal."""
        return self.written / 1000 / self.seconds


class MeasuredTerminal:
    """Starts the program at once; close it, or use it as a context manager."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], size: tuple[int, int] = (COLUMNS, LINES)):
        columns, lines = size
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv],  # not by `preexec_fn`, which may hang beside gRPC's threads
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **env},
        )
        os.close(slave)
        #: What came, and when.
        self.pieces: list[tuple[float, bytes]] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> MeasuredTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                data = b""
            with self._came:
                if data:
                    self.pieces.append((time.monotonic(), data))
                self._came.notify_all()
            if not data:
                return

    def press(self, keys: str) -> float:
        """Types; when that was."""
        now = time.monotonic()
        os.write(self._master, keys.encode())
        return now

    def wait_for(self, holds: Callable[[bytes], bool], *, since: int = 0, seconds: float = 30.0) -> float:
        """The time at which all that came after the piece `since` first fulfilled `holds`."""
        deadline, looked, seen = time.monotonic() + seconds, since, b""
        with self._came:
            while True:
                while looked < len(self.pieces):
                    at, data = self.pieces[looked]
                    looked += 1
                    seen += data
                    if holds(seen):
                        return at
                rest = deadline - time.monotonic()
                if rest <= 0 or self.process.poll() is not None:
                    raise AssertionError(f"not shown after {seconds} s; the last that came: {seen[-500:]!r}")
                self._came.wait(min(rest, 0.5))

    def shows(self, text: str, *, seconds: float = 30.0) -> float:
        """Seconds from the program's start until it wrote `text` in one piece."""
        return self.wait_for(lambda seen: text.encode() in seen, seconds=seconds) - self.started

    @property
    def written(self) -> int:
        """Bytes so far."""
        return sum(len(data) for _, data in self.pieces)

    def spent(self, seconds: float) -> Spent:
        """What it takes while this waits."""
        process = psutil.Process(self.process.pid)
        before, written, start = process.cpu_times(), self.written, time.monotonic()
        time.sleep(seconds)
        after = process.cpu_times()
        return Spent(
            time.monotonic() - start,
            after.user + after.system - before.user - before.system,
            self.written - written,
        )

    @property
    def memory_mb(self) -> float:
        """What it holds in memory of its own."""
        return float(psutil.Process(self.process.pid).memory_full_info().uss) / 1e6
