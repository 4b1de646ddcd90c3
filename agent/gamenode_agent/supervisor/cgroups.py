"""Limits that hold for all processes of an attempt together: control groups, version 1 or 2, where this host has them.

A group is made below the one this process is in, so that whatever limits GameNode itself has goes on to hold. What no
controller keeps is kept by polling (see `attempts`) or by affinity; `capabilities` says which.
"""

from __future__ import annotations

import os
from contextlib import suppress

from gamenode_agent.supervisor.protocol import Json

CONTROLLERS = ("memory", "pids", "cpu")
_PERIOD = 100_000  # microseconds


class Limits:
    """What a step's processes may use together; 0 is no limit."""

    __slots__ = ("cpus", "file_size", "memory", "open_files", "output", "pids")

    def __init__(self, given: Json) -> None:
        def number(name: str) -> float:
            value = given.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"limits.{name} is not a number from 0 up: {value!r}")
            return value

        self.cpus = float(number("cpus"))
        self.memory = int(number("memory"))
        self.pids = int(number("pids"))
        self.file_size = int(number("file_size"))
        self.open_files = int(number("open_files"))
        self.output = int(number("output"))

    def of(self, controller: str) -> bool:
        """Whether the attempt needs this controller."""
        return bool(self.cpus if controller == "cpu" else getattr(self, controller))

    @property
    def before_exec(self) -> bool:
        """Whether something must hold before the program begins."""
        return bool(self.cpus or self.memory or self.pids or self.file_size or self.open_files)


def group_name(key: str) -> str:
    """The name of an attempt's group."""
    return key.replace("/", ".")


class Group:
    """The control group of one attempt: one folder in version 2, one a controller in version 1."""

    def __init__(self, folders: dict[str, str], version: int) -> None:
        self._folders = folders
        self._version = version

    @property
    def entrances(self) -> list[str]:
        """The files into which a process writes 0 to enter."""
        return [f"{folder}/cgroup.procs" for folder in dict.fromkeys(self._folders.values())]

    def keeps(self, controller: str) -> bool:
        """Whether the group limits this."""
        return controller in self._folders

    def pids(self) -> set[int]:
        """The processes in the group."""
        found: set[int] = set()
        for path in self.entrances:
            found.update(int(pid) for pid in _read(path).split())
        return found

    def oom_kills(self) -> int:
        """How often the kernel killed in this group for want of memory."""
        if "memory" not in self._folders:
            return 0
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        return _counter(f"{self._folders['memory']}/{name}", "oom_kill")

    def refused_forks(self) -> int:
        """How often a process could not be made because there were too many."""
        if "pids" not in self._folders:
            return 0
        return _counter(f"{self._folders['pids']}/pids.events", "max")

    def open_pids_events(self) -> int | None:
        """A file that is ready (EPOLLPRI) when a process could not be made."""
        if "pids" not in self._folders:
            return None
        try:
            return os.open(f"{self._folders['pids']}/pids.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel before 4.3
            return None

    def remove(self) -> bool:
        """Removes the group; False if it is still in use."""
        gone = True
        for folder in set(self._folders.values()):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


class Groups:
    """Makes the groups, all below one called `name`, which is this supervisor's alone.

    What this host offers is found out when it is first asked for.
    """

    def __init__(self, name: str, root: str = "/sys/fs/cgroup") -> None:
        self._name = name
        self._root = root
        self._bases: dict[str, str] | None = None
        self._version = 0

    def capabilities(self) -> Json:
        """How each limit is kept here: `cgroup`, or what stands in for it."""
        bases = self._found()
        stand_in = {"memory": "polling", "pids": "polling", "cpu": "affinity"}
        kept: Json = {name: "cgroup" if name in bases else stand_in[name] for name in CONTROLLERS}
        return {"cgroup_version": self._version if bases else 0, "limits": kept}

    def create(self, name: str, limits: Limits) -> Group | None:
        """A new group with these limits, as far as controllers are there for them; None if none is needed or there."""
        bases = {c: base for c, base in self._found().items() if limits.of(c)}
        if not bases:
            return None
        group = Group({controller: f"{base}/{name}" for controller, base in bases.items()}, self._version)
        try:
            for folder in set(group._folders.values()):
                os.mkdir(folder)
            for controller, folder in group._folders.items():
                self._limit(controller, folder, limits)
        except OSError:
            group.remove()
            raise
        return group

    def members(self, name: str) -> set[int]:
        """The processes in a group of this name, which an earlier supervisor may have made."""
        group = Group({controller: f"{base}/{name}" for controller, base in self._found().items()}, self._version)
        return group.pids()

    def clean(self) -> None:
        """Removes the groups that an earlier supervisor left and nothing is in any more."""
        for base in set(self._found().values()):
            for entry in os.scandir(base):
                if entry.is_dir():
                    with suppress(OSError):
                        os.rmdir(entry.path)

    def close(self) -> None:
        """Removes what was made for all groups together, if nothing is left in it."""
        for base in set((self._bases or {}).values()):
            with suppress(OSError):
                os.rmdir(base)
        self._bases = None

    def _limit(self, controller: str, folder: str, limits: Limits) -> None:
        new = self._version == 2
        match controller:
            case "memory":
                _write(f"{folder}/{'memory.max' if new else 'memory.limit_in_bytes'}", limits.memory)
                # Swap would only make the end slow; not every kernel accounts for it.
                swap, most = ("memory.swap.max", 0) if new else ("memory.memsw.limit_in_bytes", limits.memory)
                if os.path.exists(f"{folder}/{swap}"):
                    _write(f"{folder}/{swap}", most)
                if new and os.path.exists(f"{folder}/memory.oom.group"):
                    _write(f"{folder}/memory.oom.group", 1)
            case "pids":
                _write(f"{folder}/pids.max", limits.pids)
            case _:
                quota = max(1000, int(limits.cpus * _PERIOD))
                if new:
                    _write(f"{folder}/cpu.max", f"{quota} {_PERIOD}")
                else:
                    _write(f"{folder}/cpu.cfs_period_us", _PERIOD)
                    _write(f"{folder}/cpu.cfs_quota_us", quota)

    def _found(self) -> dict[str, str]:
        if self._bases is None:
            self._bases = self._find_new() or self._find_old()
        return self._bases

    def _find_old(self) -> dict[str, str]:
        bases: dict[str, str] = {}
        for line in _read("/proc/self/cgroup").splitlines():
            _, names, path = line.split(":", 2)
            for controller in set(names.split(",")) & set(CONTROLLERS):
                for mount in (f"{self._root}/{names}", f"{self._root}/{controller}"):
                    if os.path.isdir(mount):
                        # In a container the path is the host's, and the mount shows only what is below it.
                        own = mount + path if os.path.isdir(mount + path) else mount
                        base = _make(f"{own.rstrip('/')}/{self._name}")
                        if base:
                            bases[controller] = base
                        break
        if bases:
            self._version = 1
        return bases

    def _find_new(self) -> dict[str, str]:
        if not os.path.exists(f"{self._root}/cgroup.controllers"):
            return {}
        own = next((line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
        # A group with processes in it can give no controllers to those below (but for the topmost), so our own may not
        # do: then, for root, a group at the top.
        for parent in dict.fromkeys((f"{self._root}{own}".rstrip("/"), self._root)):
            offered = set(_read(f"{parent}/cgroup.controllers").split()) & set(CONTROLLERS)
            if not offered or not _give(parent, offered):
                continue
            base = _make(f"{parent}/{self._name}")
            if base and _give(base, offered):
                self._version = 2
                return dict.fromkeys(sorted(offered), base)
        return {}


def _give(folder: str, controllers: set[str]) -> bool:
    missing = controllers - set(_read(f"{folder}/cgroup.subtree_control").split())
    try:
        if missing:
            _write(f"{folder}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))
    except OSError:
        return False
    return True


def _make(folder: str) -> str:
    try:
        os.mkdir(folder)
    except FileExistsError:
        pass
    except OSError:
        return ""
    return folder if os.access(folder, os.W_OK) else ""


def _counter(path: str, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: int | str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))
