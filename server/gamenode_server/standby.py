"""The standby of an embedded server: a process without a terminal that waits for the data dir's lock, then serves.

`python -m gamenode_server.standby DATA_DIR`. Until it has the lock it imports next to nothing, and so costs what a bare
interpreter costs. Its settings are those that the server before it wrote down (`succession`); it ends without a word
where that server was stopped for good, or another standby waits already.
"""

from __future__ import annotations

import fcntl
import os
import sys


def main(data_dir: str) -> int:
    """Waits, and serves when it is its turn; the exit code."""
    waiting = _open(os.path.join(data_dir, "standby.lock"))
    try:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(waiting)
        return 0
    _sign(waiting)
    lock = _open(os.path.join(data_dir, "server.lock"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    own = os.path.join(data_dir, "server")
    wanted = os.path.exists(os.path.join(own, "standby.json")) and not os.path.exists(os.path.join(own, "stopped"))
    # First this one: whoever gets the server's lock next must find no standby that is about to go.
    os.close(waiting)
    if not wanted:
        os.close(lock)
        return 0
    _sign(lock)
    from gamenode_server.commands import take_over

    return take_over(data_dir, lock)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _sign(lock: int) -> None:
    """Writes the pid into a lock's file, for messages."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
