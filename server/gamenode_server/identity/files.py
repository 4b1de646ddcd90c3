"""Files that hold keys: readable by their owner only, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError


def write_private(path: Path, data: bytes) -> None:
    """Replaces `path` by tmp, fsync and rename, mode 0600; its folder must exist."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes what was created, renamed or removed in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_private(path: Path) -> bytes:
    """A key file's content. Raises GameNodeError(INTEGRITY_FAILED) where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise GameNodeError(
            Code.INTEGRITY_FAILED, f"the cluster's key file {path} cannot be read: {error.strerror or error}"
        ) from error
