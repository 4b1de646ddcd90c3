"""What the supervisor and its client say to each other: one JSON object a line, over a Unix socket.

A request is `{"id", "op", …}`, its answer `{"id", "ok"}` or `{"id", "error"}`; what the supervisor says unasked is
`{"push", …}`. The version is raised with every change that an older side could not live with: a supervisor is never
replaced while it has something to run, so an agent may well meet an older one.
"""

from __future__ import annotations

VERSION = 2
#: Oldest supervisor this client can speak to.
VERSION_MIN = 1

#: Longest line, either way.
MAX_LINE = 16 << 20

#: Seconds that a growing log waits before it is reported, so that many writes make one report.
OUTPUT_DELAY = 0.02
#: Seconds without a client and without work after which a supervisor ends by itself.
IDLE_EXIT = 60.0
#: What is kept of one attempt's output unless the request says otherwise: its head and its tail.
DEFAULT_LOG_LIMIT = 64 << 20

# Phases of an attempt.
RUNNING = "running"
ENDED = "ended"
UNKNOWN = "unknown"

# Words of `gamenode_pipelines.errors.Code`, which this process does not import: a test keeps them equal.
CANCELLED = "cancelled"
EXIT_NONZERO = "exit_nonzero"
INSUFFICIENT_RESOURCES = "insufficient_resources"
INTERNAL = "internal"
INVALID_ARGUMENT = "invalid_argument"
NOT_FOUND = "not_found"
OOM_KILLED = "oom_killed"
PERMISSION_DENIED = "permission_denied"
RESOURCE_LIMIT = "resource_limit"
STATE_CONFLICT = "state_conflict"
STEP_TIMEOUT = "step_timeout"
STORAGE_FULL = "storage_full"
SUPERVISOR_LOST = "supervisor_lost"

#: The environment variables that mark every process of an attempt, in the order of its key.
MARKS = ("GAMENODE_TASK_ID", "GAMENODE_FENCE", "GAMENODE_STEP_ID", "GAMENODE_ATTEMPT")

Json = dict[str, object]


def error(code: str, message: str, **details: str) -> Json:
    """An error as it is sent and stored."""
    return {"code": code, "message": message, "details": details}
