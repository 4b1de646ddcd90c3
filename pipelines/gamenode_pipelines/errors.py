"""The error codes users and programs see, and the exceptions that carry them.

GameNodeError            anything with a code
├── InvalidPipeline      a pipeline file with problems, each with its place
└── IllegalTransition    a bug: an event that cannot happen in this state
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """How something ended, in one word. The groups are those of the mission's section on errors."""

    # communication
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    VERSION_MISMATCH = "version_mismatch"
    # execution
    TASK_FAILED = "task_failed"
    STEP_FAILED = "step_failed"
    EXIT_NONZERO = "exit_nonzero"
    STEP_TIMEOUT = "step_timeout"
    TASK_TIMEOUT = "task_timeout"
    INSUFFICIENT_RESOURCES = "insufficient_resources"
    OOM_KILLED = "oom_killed"
    RESOURCE_LIMIT = "resource_limit"
    IMAGE_MISSING = "image_missing"
    NAME_CONFLICT = "name_conflict"
    CONTAINER_GONE = "container_gone"
    GATE_DEADLINE = "gate_deadline"
    REJECTED = "rejected"
    POLICY_DENIED = "policy_denied"
    SECRET_UNAVAILABLE = "secret_unavailable"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    SUPERVISOR_LOST = "supervisor_lost"
    CANCELLED = "cancelled"
    # state
    STATE_CONFLICT = "state_conflict"
    DATA_LOSS = "data_loss"
    SYNC_FAILED = "sync_failed"
    LOST = "lost"
    STORAGE_FULL = "storage_full"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"
    INTEGRITY_FAILED = "integrity_failed"
    # requests
    INVALID_ARGUMENT = "invalid_argument"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    PERMISSION_DENIED = "permission_denied"
    UNAUTHENTICATED = "unauthenticated"
    LIMIT_EXCEEDED = "limit_exceeded"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Error:
    """Why something failed, as a value: stored, sent and shown."""

    code: Code
    message: str
    details: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a pipeline file. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""
    warning: bool = False

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        kind = "warning: " if self.warning else ""
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.message}{hint}"


class GameNodeError(Exception):
    """Something a user or a program must be told, with a code."""

    def __init__(self, code: Code, message: str, *, details: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: Mapping[str, str] = details or {}

    @property
    def error(self) -> Error:
        """The same as a value."""
        return Error(self.code, self.message, self.details)


class InvalidPipeline(GameNodeError):
    """A pipeline file that cannot be used; every problem at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


class IllegalTransition(GameNodeError):
    """An event that cannot happen in this state: a bug in the caller. The state is unchanged."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INTERNAL, message)
