"""A real supervisor process for one test, its client, and short ways to run things under it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gamenode_agent.supervisor import launch
from gamenode_agent.supervisor.client import (
    AttemptKey,
    AttemptReport,
    Phase,
    Recoverable,
    SpawnRequest,
    Supervisor,
)
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.logfile import LogReader
from support.waiting import until


class Supervised:
    """A client, the ends and sizes it was told, and a numbering of attempts."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.ended: dict[AttemptKey, AttemptReport] = {}
        self.ends: list[AttemptReport] = []
        self.sizes: dict[AttemptKey, list[int]] = {}
        self.lost = asyncio.Event()
        self._changed = asyncio.Event()
        self._number = 0
        self.client = self._client()

    def _client(self) -> Supervisor:
        return Supervisor(
            self.data_dir, on_ended=self._ended, on_output=self._output, on_lost=self.lost.set, call_timeout=20.0
        )

    async def reconnect(self) -> None:
        """As a new agent process would: nothing is remembered."""
        await self.client.close()
        self.ended.clear()
        self.lost.clear()
        self.client = self._client()
        await self.client.connect()

    def key(self) -> AttemptKey:
        """A new attempt's."""
        self._number += 1
        return AttemptKey(f"task{self._number}", 1, "step", 1)

    def directory(self, key: AttemptKey) -> Path:
        """Where an attempt's files are."""
        return self.data_dir / "attempts" / key.task_id

    def request(self, argv: Sequence[str], key: AttemptKey | None = None, **more: Any) -> SpawnRequest:
        """A request to start `argv`."""
        key = key or self.key()
        return SpawnRequest(key=key, directory=self.directory(key), argv=tuple(argv), **more)

    async def start(self, script: str, key: AttemptKey | None = None, **more: Any) -> AttemptReport:
        """Starts a shell script, which must work."""
        report = await self.client.spawn(self.request(["sh", "-c", script], key, **more))
        assert report.phase is Phase.RUNNING, report
        return report

    async def run(self, script: str | Sequence[str], *, seconds: float = 20.0, **more: Any) -> AttemptReport:
        """Runs a shell script (or an argv) to its end."""
        argv = ["sh", "-c", script] if isinstance(script, str) else script
        report = await self.client.spawn(self.request(argv, **more))
        return report if report.phase is Phase.ENDED else await self.end_of(report.key, seconds=seconds)

    async def end_of(self, key: AttemptKey, *, seconds: float = 20.0) -> AttemptReport:
        """The end of an attempt, as it is told."""
        async with asyncio.timeout(seconds):
            while key not in self.ended:
                self._changed.clear()
                await self._changed.wait()
        return self.ended[key]

    def log(self, key: AttemptKey) -> bytes:
        """All of an attempt's output; empty if it made none."""
        path = self.directory(key) / "log"
        try:
            with LogReader(path) as reader:
                return reader.read(0, reader.size)
        except FileNotFoundError:  # its two files come one after the other
            return b""

    async def logged(self, key: AttemptKey, text: bytes, *, seconds: float = 10.0) -> bytes:
        """Waits until an attempt has said this."""
        log: bytes = await until(lambda: log if text in (log := self.log(key)) else None, seconds=seconds, every=0.01)
        return log

    def recoverable(self, key: AttemptKey, boot_id: str = "") -> Recoverable:
        """The question what became of an attempt."""
        return Recoverable(key, self.directory(key), boot_id or self.client.boot_id)

    async def kill(self) -> None:
        """Kills the supervisor, and waits until the client knows."""
        os.kill(self.client.pid, signal.SIGKILL)
        await asyncio.wait_for(self.lost.wait(), 5)

    def _ended(self, report: AttemptReport) -> None:
        self.ended[report.key] = report
        self.ends.append(report)
        self._changed.set()

    def _output(self, key: AttemptKey, size: int) -> None:
        self.sizes.setdefault(key, []).append(size)


@asynccontextmanager
async def supervised(data_dir: Path, *, before: str = "") -> AsyncIterator[Supervised]:
    """A supervisor that is ended with all it runs; what it wrote to its log is a failure.

    `before`: Python that its process executes first.
    """
    host = Supervised(data_dir)
    with patch.object(launch, "_CODE", launch._CODE.replace("main(", f"{before}\nmain(")):
        await host.client.connect()
    try:
        yield host
    finally:
        try:
            await host.client.connect()
            for report in await host.client.attempts():
                await host.client.stop(report.key, force=True)
            await host.client.shutdown(force=True)
        except GameNodeError:
            os.kill(host.client.pid, signal.SIGKILL)
            raise
    assert (data_dir / "agent" / "supervisor.log").read_text() == ""


def alive(pid: int) -> bool:
    """Whether there is such a process, zombies not counted."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
