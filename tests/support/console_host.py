"""One machine with consoles on one data dir: how they are started, and what they leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from gamenode_console import discovery
from gamenode_console.gateway import Gateway, open_gateway
from support.cluster import FAST, Daemon, end_processes_of, run_to_end
from support.waiting import until

#: Ends once the file is there: by what the test does, not by time.
WAITS = """
pipeline: waits
params: {file: {type: string}}
steps:
  - id: wait
    run: until [ -e "${{ params.file }}" ]; do sleep 0.1; done; echo done
"""


class Host:
    """One machine with a data dir: its consoles, its agent, and what was left behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.consoles: list[Daemon] = []
        home = directory / "home"
        home.mkdir()
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GAMENODE_")}
        # The screenless console is in the tests' own folder.
        self.env = {**clean, **FAST, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
        self.place = discovery.Place(self.data_dir, "the test")

    def console(self, *flags: str, listen: bool = True) -> Daemon:
        """One that is not started; its server would listen on any free ports, or with `listen` false as it likes."""
        argv = [sys.executable, "-m", "support.headless_console", "--data-dir", str(self.data_dir), *flags]
        if listen:
            argv += ["--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0"]
        made = Daemon("gamenode-console", argv, self.env, self.directory / f"console-{len(self.consoles)}.log")
        self.consoles.append(made)
        return made

    async def open_console(self, *flags: str) -> Daemon:
        """A console that is connected."""
        console = self.console(*flags)
        await console.start(wait=False)
        await says(console, "live")
        return console

    @property
    def server_file(self) -> dict[str, Any]:
        return discovery.server_file(self.data_dir) or {}

    @property
    def standby(self) -> psutil.Process | None:
        """The standby that waits."""
        return self._found("gamenode_server.standby", waits=True)

    def _found(self, module: str, *, waits: bool) -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline", "pid"]):
            words = process.info["cmdline"] or []
            if module in words and str(self.data_dir) in words:
                if waits and self.server_file.get("pid") == process.pid:
                    continue
                return process
        return None

    async def served_by_another(self, pid: int) -> dict[str, Any]:
        """`server.json` once another process serves: promised within ten seconds."""

        def look() -> dict[str, Any] | None:
            document = self.server_file
            return document if document.get("pid") not in (None, pid) else None

        found: dict[str, Any] = await until(look, seconds=10, what="a server to be back")
        return found

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        async with open_gateway(discovery.find_target(self.place), patience=30.0) as gateway:
            yield gateway

    async def command(self, *words: str, code: int = 0) -> str:
        _, err, _ = await run_to_end([sys.executable, "-m", *words], env=self.env, code=code)
        return err

    @property
    def left(self) -> Sequence[str]:
        """Processes of server, standby or console that run on the data dir."""
        modules = ("gamenode_server", "gamenode_server.standby", "support.headless_console")
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if process.info["status"] != psutil.STATUS_ZOMBIE and str(self.data_dir) in words:
                found += [module for module in modules if module in words]
        return found


@asynccontextmanager
async def open_host(directory: Path) -> AsyncIterator[Host]:
    """A host; whatever runs on it ends with it."""
    found = Host(directory)
    try:
        yield found
    finally:
        for console in found.consoles:
            if console.process is not None:
                await console.kill(signal.SIGKILL)
        end_processes_of(directory)


async def says(console: Daemon, word: str) -> str:
    """The next line of a screenless console that begins so."""
    assert console.process is not None
    assert console.process.stdout is not None
    async with asyncio.timeout(30):
        while line := (await console.process.stdout.readline()).decode().strip():
            if line.startswith(word):
                return line
    raise AssertionError(f"the console ended:\n{console.log.read_text()}")
