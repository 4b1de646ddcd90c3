"""What has become another user's is not ours to end, and keeps nothing else from being ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# Not SIGCONT: the kernel lets that one through to any process of the sender's session.
_SIGNAL_ANOTHER = """
import os, signal, sys
from gamenode_agent.supervisor import processes

os.setresuid(65533, 65533, 65533)
assert processes.signal_process(processes.look(int(sys.argv[1])), signal.SIGTERM) is False
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_signal_to_another_users_process_is_not_sent_and_no_error() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        try:
            run = subprocess.run(
                [sys.executable, "-c", _SIGNAL_ANOTHER, str(other.pid)], capture_output=True, text=True, check=False
            )
            assert run.returncode == 0, run.stderr
            assert other.poll() is None
        finally:
            other.send_signal(signal.SIGKILL)
