"""The folder a task's steps work in: one per (task, fence), removed after success, kept for a while otherwise."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from gamenode_proto.codec.plan import BundleFile

logger = logging.getLogger(__name__)

_UNFINISHED = ".new"


class Workspaces:
    """Every workspace under one folder, as `TASK.FENCE`.

    Blocking calls on small files, but for `remove` and `sweep`, which belong in a thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # Other users' steps pass through it, but cannot list it.
        root.mkdir(mode=0o711, parents=True, exist_ok=True)

    def path(self, task_id: str, fence: int) -> Path:
        """Where the steps of this assignment work."""
        return self._root / f"{task_id}.{fence}"

    def prepare(self, task_id: str, fence: int, files: Iterable[BundleFile], *, shared: bool) -> Path:
        """Makes the workspace and writes the bundle's files into it, if it is not there yet.

        `shared` opens it to other users of the host, for steps that run as one. Raises OSError where the disk says no.
        """
        work = self.path(task_id, fence)
        if work.is_dir():
            return work
        making = work.with_name(work.name + _UNFINISHED)
        if making.exists():  # an earlier try was cut short
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        for file in files:
            path = making / file.path  # checked by the codec: it stays inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(file.mode & 0o777)
        if shared:
            making.chmod(0o1777)
        making.rename(work)
        return work

    def finish(self, task_id: str, fence: int, *, succeeded: bool) -> bool:
        """Removes an empty workspace after success, and marks others as kept from now; False if `remove` has work."""
        work = self.path(task_id, fence)
        try:
            if succeeded:
                os.rmdir(work)
            else:
                os.utime(work)
        except FileNotFoundError:  # no step of it ever started
            return True
        except OSError as error:
            return error.errno != errno.ENOTEMPTY
        return True

    def remove(self, task_id: str, fence: int) -> None:
        """Removes a workspace with all that is in it."""
        _remove(self.path(task_id, fence))

    def sweep(self, *, wall_now: float, keep: float, max_bytes: int, live: frozenset[tuple[str, int]]) -> None:
        """Removes kept workspaces older than `keep` seconds, and the oldest ones beyond `max_bytes` together."""
        kept: list[tuple[float, int, Path]] = []
        for work in list(self._root.iterdir()):
            task_id, _, fence = work.name.removesuffix(_UNFINISHED).rpartition(".")
            if not fence.isdecimal() or (task_id, int(fence)) in live:
                continue
            try:
                since = work.stat().st_mtime
            except FileNotFoundError:  # removed since we looked
                continue
            if wall_now - since > keep:
                _remove(work)
            else:
                kept.append((since, _size(work), work))
        kept.sort(reverse=True)
        total = 0
        for _, size, work in kept:
            total += size
            if total > max_bytes:
                _remove(work)


def _remove(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    if work.exists():
        logger.warning("workspace %s cannot be removed", work)


def _size(work: Path) -> int:
    total = 0
    for directory, _, names in os.walk(work):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
