"""Files that are being fetched: how far they are, and which they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


def size_of(path: Path) -> int:
    """Its size; 0 where it is not there."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Removes it, if that can be."""
    with contextlib.suppress(OSError):
        path.unlink()


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, hex; None where there is no such file."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
