"""Processes of a container that Docker does not know to run. Called in a thread.

Docker notes a start only after it. One that dies in between leaves a container whose processes go on, while its state
says that it was never started: it neither ends them when it removes the container nor starts it again. Such a ghost is
known by its control group, which has the container's id in its name.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from pathlib import Path
from typing import Final

from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

_PROC: Final = Path("/proc")
_ID: Final = re.compile(r"[0-9a-f]{64}")
#: Seconds that killed processes may take to be gone, and between two looks.
_DEATH, _LOOK = 10.0, 0.02


def end_ghosts(container: str) -> None:
    """Kills every process of a container; returns when they are gone. By a name, which is no id, there are none.

    Raises TIMEOUT where they do not go, PERMISSION_DENIED where they may not be ended.
    """
    if not _ID.fullmatch(container):
        return
    deadline = time.monotonic() + _DEATH
    while pids := [pid for pid in map(int, filter(str.isdigit, os.listdir(_PROC))) if _is_in(pid, container)]:
        for pid in pids:
            _kill(pid, container)
        if time.monotonic() > deadline:
            raise GameNodeError(
                Code.TIMEOUT,
                f"container {container[:12]}: its processes {pids} have not ended {_DEATH:.0f} s after SIGKILL",
            )
        time.sleep(_LOOK)


def _is_in(pid: int, container: str) -> bool:
    try:
        if container.encode() not in (_PROC / str(pid) / "cgroup").read_bytes():
            return False
        state = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:  # it has ended
        return False
    return state not in (b"Z", b"X")  # those have ended, and nobody has asked how


def _kill(pid: int, container: str) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _is_in(pid, container):  # still the one that was seen
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise GameNodeError(
            Code.PERMISSION_DENIED, f"container {container[:12]}: the agent may not end its process {pid}"
        ) from error
    finally:
        os.close(handle)
