"""Sees that a container wanted more processes than it may have. The kernel tells, in the container's control group.

An engine does not: for it the container goes on, and ends in its own way or not at all.
"""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


async def refused(pid: int) -> bool:
    """Returns True once a process of the container with this first process could not be made.

    False at once where that cannot be seen, or when the container is gone.
    """
    path = _events_file(pid)
    if path is None:
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has ended, or the engine is not on this host
        return False
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    poll = select.epoll()
    try:
        poll.register(file, select.EPOLLPRI)
        loop.add_reader(poll.fileno(), changed.set)
        while True:
            try:
                if _count(os.pread(file, 256, 0)):
                    return True
            except OSError:  # the group went with the container
                return False
            changed.clear()
            poll.poll(0)  # else it stays ready
            await changed.wait()
    finally:
        loop.remove_reader(poll.fileno())
        poll.close()
        os.close(file)


def _events_file(pid: int) -> Path | None:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        folder = _GROUPS / "pids" if "pids" in controllers.split(",") else _GROUPS if not controllers else None
        if folder is not None and group.strip("/"):
            path = folder / group.strip("/") / "pids.events"
            if path.exists():
                return path
    return None


def _count(text: bytes) -> int:
    for line in text.split(b"\n"):
        name, _, number = line.partition(b" ")
        if name == b"max":
            return int(number)
    return 0
