"""What is on this host of an agent that does not run: how much of it has not ended, and making all of it go."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from gamenode_agent.identity import FILE_NAME as IDENTITY_FILE
from gamenode_agent.status import FILE_NAME as STATUS_FILE
from gamenode_agent.supervisor import launch
from gamenode_agent.supervisor.client import Supervisor
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.locks import holder_of

JOURNAL_FILE = "journal.db"


def unfinished_tasks(agent_dir: Path) -> int:
    """How many tasks the journal has that have not ended. Only reads; 0 where there is no journal."""
    path = agent_dir / JOURNAL_FILE
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as journal:
            return int(journal.execute("SELECT count(*) FROM tasks WHERE NOT ended").fetchone()[0])
    except sqlite3.Error as error:
        raise GameNodeError(Code.DATA_LOSS, f"the agent's journal {path} cannot be read: {error}") from error


async def forget_everything(data_dir: Path) -> None:
    """Stops what the agent's steps run, and removes every file of the agent but its lock."""
    agent_dir = data_dir / "agent"
    if holder_of(launch.lock_path(data_dir)) is not None:
        supervisor = Supervisor(data_dir)
        await supervisor.connect()
        await supervisor.shutdown(force=True)
    # The key first: without it the rest is nobody's.
    (agent_dir / IDENTITY_FILE).unlink(missing_ok=True)
    for name in (JOURNAL_FILE, f"{JOURNAL_FILE}-wal", f"{JOURNAL_FILE}-shm", STATUS_FILE):
        (agent_dir / name).unlink(missing_ok=True)
    for pending in agent_dir.glob("join-*.key"):
        pending.unlink()
    for folder in ("attempts", "work"):
        if (agent_dir / folder).exists():
            shutil.rmtree(agent_dir / folder)
