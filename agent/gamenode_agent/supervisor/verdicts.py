"""What an attempt's end means: its exit code, and the error where that alone does not say it."""

from __future__ import annotations

import os
import signal

from gamenode_agent.supervisor import protocol
from gamenode_agent.supervisor.cgroups import Group, Limits
from gamenode_agent.supervisor.protocol import Json

_NAMES = {s.value: s.name for s in signal.Signals}


def verdict(
    status: int | None, cause: Json | None, limits: Limits, group: Group | None
) -> tuple[int | None, Json | None]:
    """Exit code and error, once everything is known; `status` is what waitpid said, None where nothing ran."""
    if status is None:
        return None, cause
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 128 + number if number else os.WEXITSTATUS(status)
    if cause is not None or not code:
        return code, cause
    if group is not None and group.oom_kills():
        message = f"killed: it needed more than its {limits.memory} bytes of memory"
        return code, protocol.error(protocol.OOM_KILLED, message, limit="memory", value=str(limits.memory))
    if group is not None and group.refused_forks():
        message = f"it wanted more than its {limits.pids} processes"
        return code, protocol.error(protocol.RESOURCE_LIMIT, message, limit="pids", value=str(limits.pids))
    if limits.file_size and code == 128 + signal.SIGXFSZ:
        message = f"stopped at its limit: a file of more than {limits.file_size} bytes"
        value = str(limits.file_size)
        return code, protocol.error(protocol.RESOURCE_LIMIT, message, limit="file_size", value=value)
    if number:
        name = _NAMES.get(number, str(number))
        return code, protocol.error(protocol.EXIT_NONZERO, f"ended by signal {name}", signal=name)
    return code, None
