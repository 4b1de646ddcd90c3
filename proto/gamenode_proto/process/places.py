"""Where a GameNode installation keeps its files and sockets on this host.

DATA_DIR/{server.json, server.lock, server/, agent/}: one data dir serves a server and an agent.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError

SYSTEM_DATA_DIR = Path("/var/lib/gamenode")
SYSTEM_SOCKET = Path("/run/gamenode/control.sock")
#: Its members may use the system socket.
SYSTEM_GROUP = "gamenode"
#: A Unix socket's path is at most 107 bytes; some room is left for the login socket's name.
MAX_SOCKET_PATH = 100


def default_data_dir(env: Mapping[str, str], *, uid: int | None = None) -> Path:
    """The system's data dir for root, else the user's own."""
    if (os.getuid() if uid is None else uid) == 0:
        return SYSTEM_DATA_DIR
    home = Path(env.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "gamenode"
    configured = env.get("XDG_DATA_HOME", "")
    return (Path(configured) if configured.startswith("/") else home / ".local" / "share") / "gamenode"


def control_socket_path(data_dir: Path, *, uid: int | None = None) -> Path:
    """Where a server on this data dir listens for operators. Clients read it from `server.json` instead.

    Not the user's runtime dir: it is deleted when the last SSH session ends.
    """
    if data_dir == SYSTEM_DATA_DIR:
        return SYSTEM_SOCKET
    path = data_dir / "control.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    owner = os.getuid() if uid is None else uid
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path("/tmp") / f"gamenode-{owner}" / f"{name}.sock"


def login_socket_path(control_socket: Path) -> Path:
    """The login socket beside a control socket."""
    return control_socket.with_suffix(".login")


def prepare_socket_dir(socket: Path) -> None:
    """Makes the folder of a socket that is not in the data dir, for this user only.

    Raises GameNodeError(PERMISSION_DENIED) where someone else has made that folder, or others may write into it.
    """
    folder = socket.parent
    mode = 0o755 if folder == SYSTEM_SOCKET.parent else 0o700
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise GameNodeError(
                Code.PERMISSION_DENIED,
                f"{folder} is not a folder that only this user may write to; remove it, or choose a shorter data dir",
            ) from None
