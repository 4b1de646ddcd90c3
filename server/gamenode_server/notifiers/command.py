"""One run of a notifier's command, on a thread: the event on its standard input, its exit code, an end in any case.

It runs in a session of its own, with no variable of the server but where programs are and which language, and with no
shell. Its output is read on and thrown away beyond a few KiB. Blocks; raises nothing but for a bug.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from gamenode_server.notifiers.outcome import Outcome, said

logger = logging.getLogger(__name__)

MAX_OUTPUT = 4096
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(argv: Sequence[str], *, given: bytes, variables: Mapping[str, str], timeout: float) -> Outcome:
    """Starts it and waits for its end; kills it with all of its session's first group when the time is over."""
    env = {"PATH": _PATH, **{key: os.environ[key] for key in _KEPT if key in os.environ}, **variables}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd="/",
            start_new_session=True,
            close_fds=True,
            bufsize=0,
        )
    except OSError as error:
        return Outcome(False, f"{argv[0]} cannot be started: {error.strerror or error}")
    handle = os.pidfd_open(process.pid)
    try:
        output, in_time = _talk(process, handle, given, time.monotonic() + timeout)
    finally:
        os.close(handle)
        code = _end(process)
    if not in_time:
        return Outcome(False, f"it did not end within {timeout:g} s and was killed")
    words = said(output)
    how = f"it was ended by signal {-code}" if code < 0 else f"exit code {code}"
    return Outcome(code == 0, f"{how}{f': {words}' if words else ''}")


def _talk(process: subprocess.Popen[bytes], handle: int, given: bytes, deadline: float) -> tuple[bytes, bool]:
    """Writes what it is given and reads what it says, both as they go, until it has ended: in time, or not."""
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    left, output = memoryview(given), bytearray()
    with selectors.DefaultSelector() as ready:
        for file, what in (
            (stdin, selectors.EVENT_WRITE),
            (stdout, selectors.EVENT_READ),
            (handle, selectors.EVENT_READ),
        ):
            ready.register(file, what)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return bytes(output), False
            files = {key.fd for key, _ in ready.select(remaining)}
            if stdout in files and not _read(stdout, output):
                ready.unregister(stdout)
            if stdin in files:
                left = _written(stdin, left)
                if not left:
                    ready.unregister(stdin)
                    process.stdin.close()
            if handle in files:
                _read(stdout, output)
                return bytes(output), True


def _read(file: int, output: bytearray) -> bool:
    """Takes what is there; False at the end of it."""
    try:
        data = os.read(file, 65536)
    except BlockingIOError:
        return True
    output += data[: max(0, MAX_OUTPUT - len(output))]
    return bool(data)


def _written(file: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(file, left[:65536]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:  # it does not want to know
        return left[:0]


def _end(process: subprocess.Popen[bytes]) -> int:
    """Nothing of its group is left running, and its files are closed; its exit code."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
    except (ProcessLookupError, PermissionError) as error:
        logger.debug("a notifier's command had ended: %s", error)
    code = process.wait()
    for file in (process.stdin, process.stdout):
        if file is not None:
            file.close()
    return code
