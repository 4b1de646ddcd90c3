"""Where a data dir's supervisor is found, and how one is started that outlives whoever started it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import gamenode_agent
import gamenode_proto
from gamenode_agent.supervisor.starting import INHERITED
from gamenode_pipelines.errors import Code, GameNodeError

#: The kernel takes 107 bytes for a socket's path.
_LONGEST_PATH = 100
#: The process leaves its parent first, before it has imported anything: nobody's child, nobody's zombie.
_CODE = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
sys.path[:0] = {path!r}
from gamenode_agent.supervisor.main import main
main({socket!r}, {lock!r})
"""


def lock_path(data_dir: Path) -> Path:
    """The file that a running supervisor holds locked."""
    return data_dir / "agent" / "supervisor.lock"


def log_path(data_dir: Path) -> Path:
    """Where a supervisor writes what should not have happened."""
    return data_dir / "agent" / "supervisor.log"


def socket_path(data_dir: Path) -> Path:
    """The supervisor's socket: in the data dir, or behind a short path where that one is too long.

    Raises GameNodeError where the short path's folder is not ours alone.
    """
    path = data_dir.absolute() / "agent" / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    folder = Path(f"/tmp/gamenode-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise GameNodeError(
            Code.ENGINE_UNAVAILABLE,
            f"the supervisor's socket needs {folder}, and that is not a folder of this user's alone (mode 0700)",
        )
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    return folder / f"supervisor-{name}.sock"


def start(data_dir: Path, timeout: float) -> None:
    """Starts a supervisor and returns when it serves, or when another one holds the lock. Blocks.

    Raises GameNodeError if neither is so within `timeout` seconds.
    """
    (data_dir / "agent").mkdir(parents=True, exist_ok=True)
    roots = sorted({str(Path(package.__path__[0]).parent) for package in (gamenode_agent, gamenode_proto)})
    code = _CODE.format(path=roots, socket=str(socket_path(data_dir)), lock=str(lock_path(data_dir).absolute()))
    readable, writable = os.pipe()
    try:
        with log_path(data_dir).open("ab") as log:
            launcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=writable,
                stderr=log,
                cwd="/",
                env={name: os.environ[name] for name in INHERITED if name in os.environ},
                start_new_session=True,
            )
        os.close(writable)
        writable = -1
        answer = _read_line(readable, timeout)
        try:
            launcher.wait(1.0)  # it ends before it imports anything
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()
    except OSError as problem:
        raise GameNodeError(Code.ENGINE_UNAVAILABLE, f"the supervisor cannot be started: {problem}") from problem
    finally:
        os.close(readable)
        if writable >= 0:
            os.close(writable)
    word, _, rest = answer.partition(" ")
    if word not in ("ready", "locked"):
        why = rest or f"it said nothing within {timeout:g} s or ended; see {log_path(data_dir)}"
        raise GameNodeError(Code.ENGINE_UNAVAILABLE, f"the supervisor cannot be started: {why}")


def _read_line(fd: int, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(fd, 4096) if ready else b""
        if not data:
            break
        line += data
    return line.decode(errors="replace").strip()
