"""Exit codes of every program: one small table that scripts rely on."""

from __future__ import annotations

from enum import IntEnum

from gamenode_pipelines.errors import Code


class ExitCode(IntEnum):
    """How a program ended."""

    OK = 0
    #: The run failed, or the check found problems.
    FAILED = 1
    #: Usage or invalid input.
    USAGE = 2
    NOT_FOUND = 3
    #: The server cannot be reached.
    UNREACHABLE = 4
    NOT_ALLOWED = 5
    #: Already exists, or the wrong state for it.
    CONFLICT = 6
    #: Timed out while waiting.
    TIMED_OUT = 7
    #: Needs attention or an approval: only a person can move it.
    NEEDS_ATTENTION = 8
    CANCELLED = 9
    INTERRUPTED = 130


_EXIT_OF = {
    Code.DISCONNECTED: ExitCode.UNREACHABLE,
    Code.ENGINE_UNAVAILABLE: ExitCode.UNREACHABLE,
    Code.TIMEOUT: ExitCode.TIMED_OUT,
    Code.INVALID_ARGUMENT: ExitCode.USAGE,
    Code.INSUFFICIENT_RESOURCES: ExitCode.CONFLICT,
    Code.LIMIT_EXCEEDED: ExitCode.CONFLICT,
    Code.NOT_FOUND: ExitCode.NOT_FOUND,
    Code.PERMISSION_DENIED: ExitCode.NOT_ALLOWED,
    Code.UNAUTHENTICATED: ExitCode.NOT_ALLOWED,
    Code.POLICY_DENIED: ExitCode.NOT_ALLOWED,
    Code.REVOKED: ExitCode.NOT_ALLOWED,
    Code.QUARANTINED: ExitCode.NOT_ALLOWED,
    Code.ALREADY_EXISTS: ExitCode.CONFLICT,
    Code.STATE_CONFLICT: ExitCode.CONFLICT,
    Code.NAME_CONFLICT: ExitCode.CONFLICT,
    Code.SUPERSEDED: ExitCode.CONFLICT,
    Code.VERSION_MISMATCH: ExitCode.CONFLICT,
    Code.CANCELLED: ExitCode.CANCELLED,
}


def exit_for(code: Code) -> ExitCode:
    """The exit code of a program that ends with this error; what has no other word is a plain failure."""
    return _EXIT_OF.get(code, ExitCode.FAILED)
