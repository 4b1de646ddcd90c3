"""The folder a task's steps work in: one per (task, fence), removed after success, kept for a while otherwise.

Beside it, out of the steps' way, the script and the output file of each attempt.
"""

from __future__ import annotations

import errno
import logging
import os
import pwd
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

#: A kept workspace is marked with this name, so that a later process knows since when.
_KEPT = ".kept"


class Workspaces:
    """Every workspace under one folder: `TASK.FENCE/work`, and `STEP.ATTEMPT.{script,output}` beside it.

    Blocking calls on small files, but for `remove` and `sweep`, which belong in a thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # Other users' steps pass through it, but cannot list it.
        root.mkdir(mode=0o711, parents=True, exist_ok=True)

    def path(self, task_id: str, fence: int) -> Path:
        """Where the steps of this assignment work."""
        return self._root / f"{task_id}.{fence}" / "work"

    def script_path(self, task_id: str, fence: int, step_id: str, attempt: int) -> Path:
        """Where the script of one attempt is."""
        return self._root / f"{task_id}.{fence}" / f"{step_id}.{attempt}.script"

    def output_path(self, task_id: str, fence: int, step_id: str, attempt: int) -> Path:
        """Where one attempt writes its outputs."""
        return self._root / f"{task_id}.{fence}" / f"{step_id}.{attempt}.output"

    def prepare(self, task_id: str, fence: int, files: Iterable[tuple[str, bytes, int]], *, shared: bool) -> Path:
        """Makes the workspace and writes the bundle's files into it, if it is not there yet.

        `shared` opens it to other users of the host, for steps that run as one. Raises GameNodeError for a file that
        would land outside, OSError where the disk says no.
        """
        work = self.path(task_id, fence)
        if work.is_dir():
            return work
        top = work.parent
        top.mkdir(mode=0o711, exist_ok=True)
        making = top / "work.new"
        if making.exists():  # an earlier try was cut short
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        for name, content, mode in files:
            _write_file(making, name, content, mode)
        if shared:
            making.chmod(0o1777)
        making.rename(work)
        return work

    def finish(self, task_id: str, fence: int, *, succeeded: bool) -> bool:
        """Removes a small workspace after success, and marks others as kept; False if `remove` has work to do."""
        top = self._root / f"{task_id}.{fence}"
        try:
            if not succeeded:
                os.close(os.open(top / _KEPT, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                return True
            for entry in os.scandir(top):
                if entry.is_dir(follow_symlinks=False):
                    os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)
            os.rmdir(top)
        except FileNotFoundError:  # no step of it ever started
            return True
        except OSError as error:
            # Without the mark `sweep` goes by the folder's own time.
            return not succeeded or error.errno != errno.ENOTEMPTY
        return True

    def remove(self, task_id: str, fence: int) -> None:
        """Removes a workspace with all that is in it."""
        _remove(self._root / f"{task_id}.{fence}")

    def sweep(self, *, wall_now: float, keep: float, max_bytes: int, live: frozenset[tuple[str, int]]) -> None:
        """Removes kept workspaces older than `keep` seconds, and the oldest ones beyond `max_bytes` together."""
        kept: list[tuple[float, int, Path]] = []
        for top in list(self._root.iterdir()):
            task_id, _, fence = top.name.rpartition(".")
            if not fence.isdecimal() or (task_id, int(fence)) in live:
                continue
            try:
                mark = top / _KEPT
                since = (mark if mark.exists() else top).stat().st_mtime
            except FileNotFoundError:  # removed since we looked
                continue
            if wall_now - since > keep:
                _remove(top)
            else:
                kept.append((since, _size(top), top))
        kept.sort(reverse=True)
        total = 0
        for _, size, top in kept:
            total += size
            if total > max_bytes:
                _remove(top)


def make_output_file(path: Path, *, user: str) -> None:
    """An empty `$GAMENODE_OUTPUT` that `user` may write. Raises GameNodeError for a user we cannot run steps as."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise GameNodeError(Code.STEP_FAILED, f"this host has no user {user!r}") from None
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchown(fd, entry.pw_uid, entry.pw_gid)
    except PermissionError:
        raise GameNodeError(
            Code.POLICY_DENIED, f"the agent is not root and cannot run a step as user {user!r}"
        ) from None
    finally:
        os.close(fd)


def write_script(path: Path, text: str) -> None:
    """The script of one attempt, which every user of the host may read and nobody but us may change."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _write_file(root: Path, name: str, content: bytes, mode: int) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise GameNodeError(Code.INTEGRITY_FAILED, f"the bundle's file {name!r} would land outside of the workspace")
    path = root / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode & 0o777 or 0o644)


def _remove(top: Path) -> None:
    shutil.rmtree(top, ignore_errors=True)
    if top.exists():
        logger.warning("workspace %s cannot be removed", top)


def _size(top: Path) -> int:
    total = 0
    for directory, _, names in os.walk(top):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
