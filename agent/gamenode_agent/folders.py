"""Empty folders, ready to be used: taking one is a rename, ten times as quick as making one while a disk is busy."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

#: Folders that are made beforehand, and the most that are kept.
READY = 16
MOST = 64


class Folders:
    """Folders under one root, each with a name of its own while it is in use. The rest wait in `ROOT/.ready`.

    Others may pass through the root, for steps that run as another user, but not list it. Small blocking calls.
    """

    def __init__(self, root: Path, *, mode: int) -> None:
        self.root = root
        self._mode = mode
        self._waiting = root / ".ready"
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._waiting.mkdir(mode=0o711, exist_ok=True)
        self._prefix = os.fspath(root) + "/"
        #: Paths of empty folders.
        self._ready: list[str] = []
        self._count = 0
        for entry in list(os.scandir(self._waiting)):
            self._count = max(self._count, int(entry.name) if entry.name.isdecimal() else 0)
            if self._is_empty(entry.path):
                self._ready.append(entry.path)
        while len(self._ready) < READY:
            self._ready.append(self._make_ready())

    def path(self, name: str) -> str:
        """Where the folder of this name is, or will be."""
        return self._prefix + name

    def names(self) -> list[str]:
        """The folders in use."""
        return [entry.name for entry in os.scandir(self.root) if entry.name != self._waiting.name]

    def take(self, name: str) -> str:
        """An empty folder under this name, which must not be in use. Raises OSError."""
        path = self._prefix + name
        if self._ready:
            os.rename(self._ready.pop(), path)
        else:
            self._make(path)
        return path

    def give(self, name: str) -> bool:
        """Takes back a folder that is empty; False, and it stays, where it is not."""
        path = self._prefix + name
        if not self._is_empty(path):
            return False
        if len(self._ready) < MOST and self._is_as_made(path):
            self._count += 1
            waiting = f"{self._waiting}/{self._count}"
            os.rename(path, waiting)
            self._ready.append(waiting)
        else:
            os.rmdir(path)
        return True

    def _make_ready(self) -> str:
        self._count += 1
        path = f"{self._waiting}/{self._count}"
        self._make(path)
        return path

    def _make(self, path: str) -> None:
        os.mkdir(path, self._mode)
        os.chmod(path, self._mode)  # whatever the umask says

    def _is_empty(self, path: str) -> bool:
        with os.scandir(path) as entries:
            return next(entries, None) is None

    def _is_as_made(self, path: str) -> bool:
        """Whoever used it may have changed who may use it."""
        found = os.stat(path)
        return found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == self._mode
