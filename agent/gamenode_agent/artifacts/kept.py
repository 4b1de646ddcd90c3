"""The contents that this node keeps, one file a digest, and what is being made. Blocking.

Which of them are artifacts is the server's to say; what it does not know goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_size

#: Seconds that a content which the server does not know is left alone: its name may be on the way.
LEFT_ALONE = 3600.0
#: Seconds since something was last written to it.
ABANDONED = 7 * 86_400.0


class Kept:
    """Contents under one folder; `reserve` bytes of the disk stay free."""

    def __init__(self, root: Path, *, reserve: int) -> None:
        self._content = root / "content"
        self._making = root / "making"
        self._reserve = reserve

    def path(self, digest: str) -> Path:
        """Where a content is, or would be."""
        return self._content / digest

    def digests(self) -> list[str]:
        """What is kept."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self._content))
        return []

    def begin(self, key: Attempt, size: int) -> Path:
        """Where an attempt may make a content of about this size. Raises STORAGE_FULL."""
        self._making.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self._making).free
        if free - size < self._reserve:
            raise GameNodeError(
                Code.STORAGE_FULL,
                f"it needs {format_size(size)} of this node's disk, which has {format_size(free)} free and keeps"
                f" {format_size(self._reserve)} of it",
            )
        return self._made_by(key)

    def discard(self, key: Attempt) -> None:
        """Removes what an attempt has made."""
        self._made_by(key).unlink(missing_ok=True)

    def keep(self, key: Attempt, digest: str) -> None:
        """Keeps what an attempt has made, which is on disk. Raises OSError."""
        self._content.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(self._made_by(key), self.path(digest))
        fd = os.open(self._content, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def remove(self, digests: Iterable[str], *, wall_now: float) -> None:
        """Removes those of these contents that are not quite new."""
        for digest in digests:
            with contextlib.suppress(FileNotFoundError):
                if self.path(digest).stat().st_mtime < wall_now - LEFT_ALONE:
                    self.path(digest).unlink()

    def tidy(self, *, wall_now: float) -> None:
        """Removes what attempts have left that were killed and never taken up again."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._making):
                if entry.stat().st_mtime < wall_now - ABANDONED:
                    os.unlink(entry.path)

    def _made_by(self, key: Attempt) -> Path:
        return self._making / f"{key.task_id}.{key.fence}.{key.step_id}.{key.attempt}"
