"""What this host is and how it fares: psutil samples and facts, as messages. Knows no session and no task."""

from __future__ import annotations

import ipaddress
import logging
import os
import platform
import socket
import time
from pathlib import Path

import psutil

from gamenode_proto.v1.nodes_pb2 import DiskUsage, HostFacts, Metrics, Resources

logger = logging.getLogger(__name__)

#: File systems that hold no files of anybody.
_PSEUDO = frozenset({"squashfs", "iso9660", "overlay", "tmpfs", "devtmpfs", "ramfs", "autofs"})
#: Mounts change rarely, and listing them costs more than the rest of a sample.
_MOUNTS_EVERY = 60.0
MAX_DISKS = 16


class HostMetrics:
    """Samples this host. Rates are since the sample before, so the first one has none."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = os.fspath(data_dir)
        self._mounts: list[str] = []
        self._mounts_at = float("-inf")
        self._net: tuple[float, int, int] | None = None
        psutil.cpu_percent(None)

    def sample(self, now: float) -> Metrics:
        """One sample; reads kernel files for about 0.2 ms and blocks for nothing else."""
        moment = time.monotonic()
        memory = psutil.virtual_memory()
        rx, tx = self._rates(moment)
        metrics = Metrics(
            sampled_at=now,
            cpu_percent=psutil.cpu_percent(None),
            load1=os.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_percent=memory.percent,
            net_rx_bytes_per_s=rx,
            net_tx_bytes_per_s=tx,
            processes=_process_count(),
        )
        own = _disk(self._data_dir)
        if own is not None:
            metrics.disk_used = own.used
            metrics.disk_percent = 100.0 * own.used / own.total if own.total else 0.0
        for mount in self._mounted(moment):
            disk = _disk(mount)
            if disk is not None:
                metrics.disks.append(disk)
        return metrics

    def _rates(self, moment: float) -> tuple[float, float]:
        rx = tx = 0
        for name, counters in psutil.net_io_counters(pernic=True, nowrap=True).items():
            if name != "lo":
                rx += counters.bytes_recv
                tx += counters.bytes_sent
        before, self._net = self._net, (moment, rx, tx)
        if before is None or moment <= before[0]:
            return 0.0, 0.0
        elapsed = moment - before[0]
        return max(0, rx - before[1]) / elapsed, max(0, tx - before[2]) / elapsed

    def _mounted(self, moment: float) -> list[str]:
        if moment - self._mounts_at >= _MOUNTS_EVERY:
            self._mounts_at = moment
            devices: set[str] = set()
            self._mounts = []
            for part in psutil.disk_partitions(all=False):
                # A bind mount shows its device again; a file mounted over a file is no disk.
                if part.fstype in _PSEUDO or part.device in devices or not os.path.isdir(part.mountpoint):
                    continue
                devices.add(part.device)
                self._mounts.append(part.mountpoint)
            self._mounts = self._mounts[:MAX_DISKS] or ["/"]
        return self._mounts


def facts(*, data_dir: Path, version: str, slots: int) -> HostFacts:
    """What does not change while the agent runs, but for addresses."""
    uname = platform.uname()
    own = _disk(os.fspath(data_dir))
    return HostFacts(
        hostname=uname.node,
        os=_os_name(),
        kernel=uname.release,
        architecture=uname.machine,
        agent_version=version,
        resources=Resources(
            cpus=float(_usable_cpus()),
            memory_total=psutil.virtual_memory().total,
            disk_total=own.total if own is not None else 0,
        ),
        addresses=addresses(),
        capabilities=capabilities(),
        slots=slots,
    )


def addresses() -> list[str]:
    """The addresses under which others may reach this host, IPv4 first."""
    found: list[str] = []
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(entry.address.partition("%")[0])
            if not (address.is_loopback or address.is_link_local):
                found.append(str(address))
    return sorted(found, key=lambda text: (":" in text, text))


def capabilities() -> list[str]:
    """What this agent can do beyond the base, in fixed words."""
    found = [f"python-{platform.python_version()}"]
    if os.access("/bin/bash", os.X_OK):
        found.append("bash")
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        found.append("cgroup-v2")
    elif os.path.isdir("/sys/fs/cgroup/memory"):
        found.append("cgroup-v1")
    if os.geteuid() == 0:
        found.append("root")
    return found


def free_bytes(directory: Path) -> int:
    """What an unprivileged process could still write under `directory`."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


def _disk(mount: str) -> DiskUsage | None:
    try:
        stat = os.statvfs(mount)
    except OSError as error:  # unmounted, or a network file system that is away
        logger.debug("no disk usage of %s: %s", mount, error)
        return None
    total = stat.f_blocks * stat.f_frsize
    return DiskUsage(mount=mount, used=total - stat.f_bfree * stat.f_frsize, total=total)


def _process_count() -> int:
    return sum(1 for name in os.listdir("/proc") if name.isdecimal())


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0))


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return platform.system()
