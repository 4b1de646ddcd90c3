"""Starting a process that outlives its parent and its terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module with this same interpreter."""
    return [sys.executable, "-m", module, *arguments]


def spawn_detached(
    argv: Sequence[str],
    *,
    log_path: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    pass_fds: Sequence[int] = (),
) -> int:
    """Starts `argv` in a session of its own, without a terminal, and returns its pid.

    Reads from /dev/null; writes to the end of `log_path`, or to /dev/null; of this process's other files it gets only
    `pass_fds`. Uses no `preexec_fn`, so it is safe beside
    gRPC's threads. If it ends while this process lives, it is reaped.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = null
    try:
        if log_path is not None:
            log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        process = subprocess.Popen(
            list(argv),
            stdin=null,
            stdout=log,
            stderr=log,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            close_fds=True,
            pass_fds=tuple(pass_fds),
        )
    finally:
        if log != null:
            os.close(log)
        os.close(null)
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process.pid
