"""A console that is asked to end is gone in time, whatever its screen does."""

from __future__ import annotations

import subprocess
import sys

import pytest

HANGS = """
import os, signal, sys, time
from gamenode_console.program.showing import end_with_signals
end_with_signals(lambda: print("asked", flush=True), deadline=0.2)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
time.sleep(60)
"""


@pytest.mark.parametrize("number", ["SIGHUP", "SIGTERM"])
def test_a_screen_that_hangs_does_not_hold_the_process(number: str) -> None:
    done = subprocess.run([sys.executable, "-c", HANGS, number], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "asked\n"
    assert done.stderr == ""
