"""The console's own standard streams: nothing but the screens writes to the terminal, C libraries included."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def kept_clean(log: Path) -> Iterator[None]:
    """Sends what is written to descriptors 1 and 2 to a log, where they are a terminal, and leaves that to Textual.

    Textual writes to `sys.__stderr__`, so that gets the terminal under another number; whatever else writes to a
    descriptor (gRPC's core, a library's print, a process that was started, an interpreter that crashes) finds the log
    there. Threads that break tell the log as well. Undone at the end.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    noisy = [fd for fd in (1, 2) if os.isatty(fd)]
    kept = {fd: os.dup(fd) for fd in noisy}
    terminal = os.dup(kept[noisy[0]] if noisy else 2)
    streams, hook = (sys.__stderr__, sys.stderr), threading.excepthook
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        for fd in noisy:
            os.dup2(file, fd)
        stream = open(terminal, "w", encoding="utf-8", errors="replace", newline="", closefd=False)  # noqa: SIM115
        sys.__stderr__ = stream  # type: ignore[misc]  # Textual takes it from there
        threading.excepthook = _logged
        faulthandler.enable()
        yield
    finally:
        faulthandler.disable()
        threading.excepthook = hook
        sys.__stderr__, sys.stderr = streams  # type: ignore[misc]
        for fd, was in kept.items():
            os.dup2(was, fd)
            os.close(was)
        os.close(terminal)
        os.close(file)


def _logged(broke: threading.ExceptHookArgs) -> None:
    """A thread ended by an error."""
    name = broke.thread.name if broke.thread is not None else "?"
    logger.error("thread %s broke", name, exc_info=broke.exc_value)
