"""What a running agent says of itself to the other commands of this host: `DATA_DIR/agent/agent.json`.

Only for people and scripts: nothing is decided by it but which process to signal, and then the lock is asked first.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.locks import Lock, holder_of, lock_file

FILE_NAME = "agent.json"
LOCK_NAME = "agent.lock"


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """An agent process as it stands. Unix seconds."""

    pid: int
    version: str
    node_id: str
    name: str
    started_at: float
    slots: int
    connected: bool = False
    server: str = ""
    server_version: str = ""
    #: Since when it is connected, or not.
    since: float = 0.0
    #: Why it is not connected.
    problem: str = ""
    #: The container engine, e.g. `docker 27.5`; empty while there is none, and then the problem says why.
    engine: str = ""
    engine_address: str = ""
    engine_problem: str = ""


def write_status(agent_dir: Path, status: AgentStatus) -> None:
    """Replaces the file in one go. It is not synced: after a crash of the host it is of no use."""
    path = agent_dir / FILE_NAME
    temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    temporary.write_text(json.dumps(asdict(status)) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_status(agent_dir: Path) -> AgentStatus | None:
    """What the running agent says; None where none runs."""
    pid = running_pid(agent_dir)
    if pid is None:
        return None
    try:
        found = json.loads((agent_dir / FILE_NAME).read_text(encoding="utf-8"))
        status = AgentStatus(**{name: found[name] for name in AgentStatus.__slots__})
    except (OSError, ValueError, KeyError, TypeError):
        status = None
    if status is None or status.pid != pid:  # it has the lock, and has not got round to writing
        return AgentStatus(pid, "", "", "", 0.0, 0, problem="starting")
    return status


def running_pid(agent_dir: Path) -> int | None:
    """The pid of the agent that runs on this folder."""
    return holder_of(agent_dir / LOCK_NAME)


def take_lock(agent_dir: Path) -> Lock:
    """The right to be this folder's agent. Raises GameNodeError(STATE_CONFLICT) that names the one that runs."""
    try:
        return lock_file(agent_dir / LOCK_NAME, what=f"the agent of {agent_dir.parent}")
    except PermissionError as error:
        raise GameNodeError(Code.PERMISSION_DENIED, f"{agent_dir} cannot be written: {error.strerror}") from error
