"""The supervisor process: what it sets up before it serves, and the one line by which it says that it does."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
import zlib
from contextlib import suppress

from gamenode_agent.supervisor import records
from gamenode_agent.supervisor.loop import Loop, boottime
from gamenode_agent.supervisor.service import Service
from gamenode_proto.process.clock import wall_clock

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def main(socket_path: str, lock_path: str) -> None:
    """Serves until it has nothing to do. Descriptor 1 gets `ready PID`, `locked PID` or `failed REASON`."""
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say(f"locked {os.read(lock, 32).decode().strip() or '?'}")
        return
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    try:
        listener = _listen(socket_path)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this kernel has no child subreapers")
        libc.prctl(_PR_SET_NAME, b"gamenode-superv", 0, 0, 0)
    except OSError as problem:
        _say(f"failed {problem}")
        return
    # Control groups have one name space for the whole host; the lock makes this part of it ours.
    name = f"gamenode-{zlib.crc32(os.fsencode(lock_path)):08x}"
    loop = Loop()
    service = Service(loop, listener, boot_id=records.boot_id(), origin=wall_clock() - boottime(), name=name)
    _watch_signals(loop, service)
    _say(f"ready {os.getpid()}")
    loop.run()
    service.close()
    os.unlink(socket_path)


def _listen(path: str) -> socket.socket:
    # We hold the lock, so a socket that is there belongs to nobody.
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(16)
    return listener


def _watch_signals(loop: Loop, service: Service) -> None:
    readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _noted)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)

    def arrived(_mask: int) -> None:
        numbers = os.read(readable, 4096)
        if signal.SIGCHLD in numbers:
            service.children_ended()
        if signal.SIGTERM in numbers:
            service.end()

    loop.watch(readable, arrived, vital=True)


def _noted(_number: int, _frame: object) -> None:
    """The byte in the wake-up pipe is all that is wanted."""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
