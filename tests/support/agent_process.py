"""The real agent as a process, against a fake server, with its real supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from support.cluster import Agent, end_processes_of
from support.fake_server import FakeServer

FAST = {
    "GAMENODE_RECONNECT_MAX": "200ms",
    "GAMENODE_RECONNECT_BASE": "50ms",
    "GAMENODE_STORAGE_RETRY": "100ms",
    "GAMENODE_LOG_IDLE_CLOSE": "2s",
}


def agent_env(directory: Path, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of an agent of a test."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("GAMENODE_")}
    return {**base, "HOME": str(directory), **FAST, **(changes or {})}


@asynccontextmanager
async def running_agent(
    directory: Path,
    fake: FakeServer,
    *,
    env: Mapping[str, str] | None = None,
    wait: bool = True,
    before: Sequence[str] = (),
    joined: bool = False,
) -> AsyncIterator[Agent]:
    """A joined agent that is connected; all it started is gone at the end.

    `before` goes before its command; `joined`: the test has made its identity.
    """
    data_dir = directory / "agent-data"
    if not joined:
        fake.identity(data_dir)
    argv = [*before, sys.executable, "-m", "gamenode_agent", "run", "--data-dir", str(data_dir)]
    agent = Agent("agent", argv, agent_env(directory, env), directory / "agent.log", data_dir=data_dir)
    try:
        await agent.start(wait=wait)
        yield agent
    finally:
        if agent.runs:
            await agent.kill(signal.SIGKILL)
        end_processes_of(directory)


async def agent_command(
    directory: Path,
    data_dir: Path,
    *words: str,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> tuple[int, str, str]:
    """Runs `gamenode-agent WORDS`; its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-m", "gamenode_agent", *words, "--data-dir", str(data_dir)),
        env=agent_env(directory, env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 30)
    assert b"Traceback" not in err, err.decode()
    return process.returncode or 0, out.decode(), err.decode()
