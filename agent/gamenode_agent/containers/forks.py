"""Sees that a container wanted more processes than it may have.

No engine tells: for it the container goes on, and ends in its own way or not at all. The kernel says so once in its
log, with the name of the container's control group, and keeps a count in the group, which goes with the container. The
log is heeded where it may be read; where not, the count is looked at now and then, which misses one that ends at once.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gamenode_agent.containers.outages import through
from gamenode_agent.engines.containers import ContainerEngine

_KERNEL_LOG = "/dev/kmsg"
_GROUPS = Path("/sys/fs/cgroup")
_REFUSED = b"fork rejected by pids controller"
#: Seconds between two looks at the count.
_LOOK = 0.25
_RECORD = 8192


class Forks:
    """What the kernel says of one container; made before the container is started."""

    def __init__(self, container: str) -> None:
        self._container = container
        self._seen = False
        self._file = -1
        try:
            self._file = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError:  # not for us, or there is none
            self.close()

    def refused(self) -> bool:
        """Whether it was refused a process, as far as is known by now."""
        while self._file >= 0 and not self._seen:
            try:
                record = os.read(self._file, _RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records went faster than they were read
            except OSError:
                self.close()
                break
            self._seen = _REFUSED in record and self._container.encode() in record
        return self._seen

    async def wait(self, engine: ContainerEngine) -> None:
        """Returns once it was refused a process."""
        if self._file >= 0:
            await self._heed()
        else:
            await self._look(engine)

    def close(self) -> None:
        """Closes the kernel's log."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _heed(self) -> None:
        loop = asyncio.get_running_loop()
        more = asyncio.Event()
        file = self._file
        loop.add_reader(file, more.set)
        try:
            while not self.refused():
                more.clear()
                await more.wait()
        finally:
            loop.remove_reader(file)

    async def _look(self, engine: ContainerEngine) -> None:
        while True:
            found = await through(engine, lambda: engine.inspect(self._container))
            if found is None or found.ended:
                break
            if found.pid and (path := _count_file(found.pid, self._container)) is not None:
                while (count := _count(path)) is not None:
                    if count:
                        self._seen = True
                        return
                    await asyncio.sleep(_LOOK)
            await asyncio.sleep(_LOOK)
        await asyncio.Event().wait()  # it is over, and nobody will ever know


def _count_file(pid: int, container: str) -> Path | None:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        folder = _GROUPS / "pids" if "pids" in controllers.split(",") else _GROUPS if not controllers else None
        if folder is not None and container[:12] in group:
            return folder / group.strip("/") / "pids.events"
    return None


def _count(path: Path) -> int | None:
    """None where it cannot be read (any more)."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None
    return next((int(line[4:]) for line in lines if line.startswith(b"max ")), None)
