"""The states of nodes, runs, tasks and steps, and which of them are ends."""

from __future__ import annotations

from enum import StrEnum


class NodeState(StrEnum):
    """What the server knows of a node's connection."""

    NEVER_CONNECTED = "never_connected"
    ONLINE = "online"
    SUSPECT = "suspect"
    OFFLINE = "offline"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"


class AdminState(StrEnum):
    """What an operator wants of a node."""

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DISABLED = "disabled"


class RunState(StrEnum):
    """Where one trigger of a pipeline stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    #: Nothing in it can move without a person.
    NEEDS_ATTENTION = "needs_attention"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Nothing changes it any more."""
        return self in _ENDED_RUNS


class TaskState(StrEnum):
    """Where a run's share on one node stands."""

    #: Not given to its node yet.
    PENDING = "pending"
    #: Given to its node, not begun.
    DISPATCHED = "dispatched"
    RUNNING = "running"
    #: Every step that could run waits: for its next attempt, or for a person.
    WAITING = "waiting"
    #: Asked to end; its processes are being stopped, then `finally` runs.
    CANCELLING = "cancelling"
    #: May have run; the server will assign it again under a new fence.
    LOST = "lost"
    #: May have run; a person must say what became of it.
    NEEDS_ATTENTION = "needs_attention"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        """Nothing changes it any more."""
        return self in _ENDED_TASKS


class StepState(StrEnum):
    """Where one element of a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    #: Between two attempts, or for a person.
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Nothing changes it any more, but for a new assignment of its task."""
        return self in _ENDED_STEPS


_ENDED_RUNS = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
_ENDED_TASKS = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})
_ENDED_STEPS = frozenset(
    {StepState.SUCCEEDED, StepState.FAILED, StepState.CANCELLED, StepState.SKIPPED, StepState.LOST}
)
