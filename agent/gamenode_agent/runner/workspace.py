"""The folder a task's steps work in: one per (task, fence), removed after success, kept for a while otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from gamenode_agent.folders import Folders
from gamenode_proto.codec.plan import BundleFile

logger = logging.getLogger(__name__)

_UNFINISHED = ".new"


class Workspaces:
    """Every workspace under one folder, as `TASK.FENCE`.

    Blocking calls on small files, but for `remove` and `sweep`, which belong in a thread.
    """

    def __init__(self, root: Path) -> None:
        self._folders = Folders(root, mode=0o700)

    def path(self, task_id: str, fence: int) -> str:
        """Where the steps of this assignment work."""
        return self._folders.path(f"{task_id}.{fence}")

    def prepare(self, task_id: str, fence: int, files: Sequence[BundleFile], *, shared: bool) -> str:
        """Makes the workspace and writes the bundle's files into it, if it is not there yet.

        `shared` opens it to other users of the host, for steps that run as one. Raises OSError where the disk says no.
        """
        name = f"{task_id}.{fence}"
        work = self._folders.path(name)
        if os.path.isdir(work):
            return work
        if not files and not shared:
            return self._folders.take(name)
        making = self._folders.path(name + _UNFINISHED)
        if os.path.exists(making):  # an earlier try was cut short
            shutil.rmtree(making)
        self._folders.take(name + _UNFINISHED)
        for file in files:
            path = Path(making, file.path)  # checked by the codec: it stays inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(file.mode & 0o777)
        if shared:
            os.chmod(making, 0o1777)
        os.rename(making, work)
        return work

    def finish(self, task_id: str, fence: int, *, succeeded: bool) -> bool:
        """Removes an empty workspace after success, and marks others as kept from now; False if `remove` has work."""
        name = f"{task_id}.{fence}"
        try:
            if succeeded:
                return self._folders.give(name)
            os.utime(self._folders.path(name))
        except FileNotFoundError:  # no step of it ever started
            return True
        except OSError as error:
            logger.warning("the workspace of a task cannot be touched: %s", error, extra={"task": task_id})
        return True

    def remove(self, task_id: str, fence: int) -> None:
        """Removes a workspace with all that is in it."""
        _remove(Path(self.path(task_id, fence)))

    def kept(self, live: frozenset[tuple[str, int]]) -> list[str]:
        """The workspaces of no live task. Asked on the loop: none of a task that comes later is among them."""
        return [name for name in self._folders.names() if _is_kept(name, live)]

    def sweep(self, kept: Sequence[str], *, wall_now: float, keep: float, max_bytes: int) -> None:
        """Removes of these the ones older than `keep` seconds, and the oldest ones beyond `max_bytes` together."""
        sizes: list[tuple[float, int, Path]] = []
        for name in kept:
            work = Path(self._folders.path(name))
            try:
                since = work.stat().st_mtime
            except FileNotFoundError:  # removed since we looked
                continue
            if wall_now - since > keep:
                _remove(work)
            else:
                sizes.append((since, _size(work), work))
        sizes.sort(reverse=True)
        total = 0
        for _, size, work in sizes:
            total += size
            if total > max_bytes:
                _remove(work)


def _is_kept(name: str, live: frozenset[tuple[str, int]]) -> bool:
    task_id, _, fence = name.removesuffix(_UNFINISHED).rpartition(".")
    return fence.isdecimal() and (task_id, int(fence)) not in live


def _remove(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    if work.exists():  # a step has closed folders of its own: only root gets past that
        _open_up(work)
        shutil.rmtree(work, ignore_errors=True)
    if work.exists():
        logger.warning("workspace %s cannot be removed", work)


def _open_up(work: Path) -> None:
    """Lets us into every folder that is ours."""
    for directory, folders, _ in os.walk(work):
        for name in folders:
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)


def _size(work: Path) -> int:
    total = 0
    for directory, _, names in os.walk(work):
        for name in names:
            with contextlib.suppress(OSError):  # gone since we looked, or in a folder that nobody may look into
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
    return total
