"""Finding and signalling processes by /proc, so that no foreign one is ever hit.

A pid alone names nobody: the kernel gives it away again. So a process is its pid and its start time, and a signal goes
through a pidfd whose start time was checked after it was opened. The exception is our own children: until we reap one,
its pid is its.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from typing import NamedTuple

from gamenode_agent.supervisor.protocol import MARKS

TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """A process as /proc shows it. `started` is in clock ticks since boot, `rss` in bytes."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: int
    rss: int


def look(pid: int) -> Process | None:
    """The process of this pid, if there is one."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = os.read(fd, 2048)
    except OSError:  # it ended in between
        return None
    finally:
        os.close(fd)
    # The name in parentheses may hold anything, parentheses too: count from its end.
    fields = stat[stat.rfind(b")") + 2 :].split()
    if len(fields) < 22:
        return None
    return Process(
        pid,
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        fields[0].decode(),
        int(fields[19]),
        int(fields[21]) * _PAGE,
    )


def everything() -> dict[int, Process]:
    """Every process that can be seen, by pid."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = look(int(name))
            if process is not None:
                found[process.pid] = process
    return found


def children() -> list[int]:
    """Our own children: those we started, and the orphans among their descendants. Zombies are among them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        own = os.getpid()
        return [process.pid for process in everything().values() if process.parent == own]


def descendants(roots: Iterable[int], among: dict[int, Process]) -> list[Process]:
    """The roots that live, and every process below them."""
    below: dict[int, list[Process]] = {}
    for process in among.values():
        below.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    queue = [among[pid] for pid in roots if pid in among]
    seen: set[int] = set()
    while queue:
        process = queue.pop()
        if process.pid not in seen:
            seen.add(process.pid)
            found.append(process)
            queue.extend(below.get(process.pid, ()))
    return [process for process in found if process.state not in "ZX"]


def mark_of(pid: int) -> str:
    """The key of the attempt whose environment this process has; empty if none or not readable."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return ""
    if b"GAMENODE_TASK_ID=" not in environ:
        return ""
    values = dict(item.partition(b"=")[::2] for item in environ.split(b"\0"))
    parts = [values.get(name.encode(), b"").decode(errors="replace") for name in MARKS]
    return "/".join(parts) if all(parts) else ""


def signal_process(process: Process, number: int) -> bool:
    """Signals exactly this process; False when it is gone, or another user's by now."""
    pidfd = _open(process)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True


def wait_gone(processes: Iterable[Process], seconds: float) -> None:
    """Blocks until these processes are gone, or for so long."""
    poll = select.poll()
    waiting: set[int] = set()
    for process in processes:
        pidfd = _open(process)
        if pidfd is not None:
            poll.register(pidfd, select.POLLIN)
            waiting.add(pidfd)
    try:
        while waiting:
            ready = poll.poll(seconds * 1000)
            if not ready:
                return
            for pidfd, _ in ready:
                poll.unregister(pidfd)
                waiting.discard(pidfd)
                os.close(pidfd)
    finally:
        for pidfd in waiting:
            os.close(pidfd)


def _open(process: Process) -> int | None:
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    now = look(process.pid)
    if now is None or now.started != process.started:
        os.close(pidfd)
        return None
    return pidfd
