"""Which runs' logs are deleted: the too old ones, and the oldest where all together take too much; failed runs go last.

Pure but for `measure`. Knows runs only by what it is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class RunLogs:
    """What the logs of one run take on disk, and when the last of them grew (Unix seconds, the disk's clock)."""

    run_id: str
    bytes: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class LogRetention:
    """How long logs are kept, seconds, and how much they may take together, bytes."""

    age: float = 30 * DAY
    failed_age: float = 90 * DAY
    total: int = 5 << 30


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: when, and whether it failed."""

    at: float
    failed: bool


def choose(
    usage: Sequence[RunLogs], ended: Mapping[str, Ended], live: frozenset[str], policy: LogRetention, now: float
) -> list[str]:
    """The runs whose logs go, in order. Logs of a live run never do; those of a run nobody knows go by their age."""
    kept: list[tuple[bool, float, RunLogs]] = []
    gone: list[str] = []
    taken = 0
    for logs in usage:
        taken += logs.bytes
        if logs.run_id in live:
            continue
        end = ended.get(logs.run_id, Ended(logs.changed_at, failed=False))
        if end.at < now - (policy.failed_age if end.failed else policy.age):
            gone.append(logs.run_id)
            taken -= logs.bytes
        else:
            kept.append((end.failed, end.at, logs))
    for _, _, logs in sorted(kept, key=lambda item: item[:2]):
        if taken <= policy.total:
            break
        taken -= logs.bytes
        gone.append(logs.run_id)
    return gone


def measure(directory: Path) -> list[RunLogs]:
    """What each run's logs take. Blocking."""
    found: list[RunLogs] = []
    with os.scandir(directory) as runs:
        for run in runs:
            if not run.is_dir(follow_symlinks=False):
                continue
            size, changed = 0, 0.0
            for folder, _, names in os.walk(run.path):
                for name in names:
                    try:
                        stat = os.stat(os.path.join(folder, name))
                    except FileNotFoundError:  # deleted meanwhile
                        continue
                    size += stat.st_blocks * 512
                    changed = max(changed, stat.st_mtime)
            found.append(RunLogs(run.name, size, changed))
    return found
