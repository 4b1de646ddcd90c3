"""CPU, memory and processes of containers from their control groups: a few small files each, far below a millisecond.

The engine's own figures take a second a container. Memory is as `docker stats` shows it: without the part of the file
cache that could be given back at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gamenode_agent.engines.containers import Usage


class ControlGroups:
    """Reads the control groups of processes. `proc` is where processes are, for tests."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._mounts: dict[str, Path] | None = None

    def usage(self, pids: Mapping[str, int]) -> dict[str, Usage]:
        """What containers use, by id, from the first process of each; those that cannot be read are left out."""
        found = {}
        for container, pid in pids.items():
            try:
                found[container] = self._measured(container, pid)
            except (OSError, ValueError, KeyError, StopIteration):
                continue  # it has ended, or its files are not for us
        return found

    def _measured(self, container: str, pid: int) -> Usage:
        groups = _groups((self._proc / str(pid) / "cgroup").read_text().splitlines())
        mounts = self._hierarchies()
        if "memory" in groups:
            cpu = self._folder(mounts["cpuacct"], groups["cpuacct"], container)
            memory = self._folder(mounts["memory"], groups["memory"], container)
            used = _number(memory / "memory.usage_in_bytes") - _field(memory / "memory.stat", "total_inactive_file")
            pids = self._folder(mounts["pids"], groups["pids"], container) if "pids" in mounts else None
            seconds = _number(cpu / "cpuacct.usage") / 1e9
        else:
            pids = memory = self._folder(mounts[""], groups[""], container)
            used = _number(memory / "memory.current") - _field(memory / "memory.stat", "inactive_file")
            seconds = _field(memory / "cpu.stat", "usage_usec") / 1e6
        return Usage(seconds, max(used, 0), _number(pids / "pids.current") if pids is not None else 0)

    @staticmethod
    def _folder(mount: Path, group: str, container: str) -> Path:
        # The process id may be another's by now: its group must speak of this container, if only at its end.
        if container[:12] not in group:
            raise ValueError(f"{group} is not of {container}")
        return mount / group.lstrip("/")

    def _hierarchies(self) -> dict[str, Path]:
        """Controller → where it is mounted; "" is the unified one."""
        if self._mounts is None:
            self._mounts = {}
            for line in (self._proc / "self" / "mounts").read_text().splitlines():
                _, folder, kind, options, *_ = line.split()
                if kind == "cgroup2":
                    self._mounts.setdefault("", Path(folder))
                elif kind == "cgroup":
                    for option in options.split(","):
                        self._mounts.setdefault(option, Path(folder))
        return self._mounts


def _groups(lines: Iterable[str]) -> dict[str, str]:
    """Controller → path, from a process's cgroup file: `4:memory:/docker/…`, `0::/system.slice/…`."""
    found = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _number(path: Path) -> int:
    return int(path.read_text())


def _field(path: Path, name: str) -> int:
    return next(int(line[len(name) :]) for line in path.read_text().splitlines() if line.startswith(f"{name} "))
