"""A lock on a file, held for as long as its process lives: one server, one agent, one supervisor a data dir.

`flock` frees itself when the process dies of anything. The file holds the holder's pid, for messages; nobody decides
by the pid.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from gamenode_pipelines.errors import Code, GameNodeError


class Lock:
    """A held lock. `release` it, or use it in a `with`; the file stays, because removing it would make two of it."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """Gives the lock back; doing so again changes nothing."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_file(path: Path, *, what: str = "", wait: bool = False) -> Lock:
    """Takes the lock on `path`, making the file (its folder must exist). With `wait`, blocks until it is free.

    Raises GameNodeError(STATE_CONFLICT) that names the holder's pid, in its text and as detail `pid`; `what` is what
    the lock stands for, e.g. "the data dir /var/lib/gamenode". OSError where the file cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        holder = f"a running process (pid {pid})" if pid else "a running process"
        raise GameNodeError(
            Code.STATE_CONFLICT, f"{what or path} is in use by {holder}", details={"pid": pid} if pid else None
        ) from None
    except BaseException:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return Lock(path, fd)


def holder_of(path: Path) -> int | None:
    """The pid of the process that holds the lock on `path`; None where it is free. Takes nothing."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdecimal() else 0
    else:
        return None
    finally:
        os.close(fd)
