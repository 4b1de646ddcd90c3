"""What has become another user's is not ours to end, and keeps nothing else from being ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SIGNAL_ROOT = """
import os, signal
from gamenode_agent.supervisor import processes

os.setresuid(65534, 65534, 65534)
assert processes.signal_process(processes.look(1), signal.SIGCONT) is False
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_signal_to_another_users_process_is_not_sent_and_no_error() -> None:
    run = subprocess.run([sys.executable, "-c", _SIGNAL_ROOT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
