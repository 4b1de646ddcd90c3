"""The console's own standard streams: nothing but the screens writes to the terminal, C libraries included."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_clean(log: Path) -> Iterator[None]:
    """Sends what is written to file descriptor 2 to a log, and lets Textual keep the terminal.

    Textual writes to `sys.__stderr__`, so that gets the terminal under another number; whatever else writes to
    descriptor 2 (gRPC's core, an interpreter that crashes) finds the log there. Undone at the end.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    terminal = os.dup(2)
    old = sys.__stderr__, sys.stderr
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.dup2(file, 2)
        stream = open(terminal, "w", encoding="utf-8", errors="replace", newline="", closefd=False)  # noqa: SIM115
        sys.__stderr__ = stream  # type: ignore[misc]  # Textual takes it from there
        yield
    finally:
        sys.__stderr__, sys.stderr = old  # type: ignore[misc]
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(file)
