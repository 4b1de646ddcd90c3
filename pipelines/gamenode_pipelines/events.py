"""Everything that can happen to a task: the inputs of the task machine, facts in the past tense.

The agent makes most of them, the server `TaskAssigned`, `TaskLost`, `TaskResolved` and `TaskSkipped`. Each is folded by
the same function on both sides, in the order the agent's outbox gives them. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gamenode_pipelines.errors import Error


@dataclass(frozen=True, slots=True)
class LogHole:
    """A byte range of a log that is not there, and why (`limit`, `disk_full`, `lost`)."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What a finished log must contain. `sha256` (hex) is over the bytes that are there."""

    lines: int = 0
    bytes: int = 0
    sha256: str = ""
    holes: tuple[LogHole, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelInfo:
    """Who asked for a cancel, why, and whether to skip the grace period."""

    by: str
    reason: str = ""
    force: bool = False
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskAssigned:
    """The server gave the task to its node under the event's fence."""


@dataclass(frozen=True, slots=True)
class TaskAccepted:
    """The agent has the assignment on disk."""


@dataclass(frozen=True, slots=True)
class TaskRefused:
    """The agent will not run the assignment; nothing was started."""

    error: Error


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The task has a slot and begins."""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The agent has written down that it will start this attempt; from here on it may have run."""

    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StepEnded:
    """An attempt is over. Without `error` it is judged by `exit_code`. `jitter` in [0, 1) spreads a retry's delay."""

    step_id: str
    attempt: int
    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    log: LogSummary | None = None
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class StepLost:
    """Whether an attempt ran to its end cannot be known any more; none of its processes is left."""

    step_id: str
    attempt: int
    reason: str
    log: LogSummary | None = None


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The delay before the next attempt is over; `attempt` is the one that is due."""

    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the task to end."""

    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """The server asks the task's agent to end it; the agent answers with `CancelRequested`."""

    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class TaskTimedOut:
    """The task's time is up."""


@dataclass(frozen=True, slots=True)
class FinallyTimedOut:
    """The time of the task's `finally` steps is up."""


@dataclass(frozen=True, slots=True)
class TaskLost:
    """The server cannot learn from the node what became of this assignment.

    With `gone` the node itself says that it knows nothing of it. Without, the node is only out of reach: what it tells
    later under the same fence takes the task up again where it stood.
    """

    reason: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class TaskResolved:
    """A person decided what became of a task that could not move by itself."""

    as_: Literal["succeeded", "failed", "retry"]
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskSkipped:
    """The task will not be given to its node: its run starts no further tasks."""

    reason: str


TaskEventBody = (
    TaskAssigned
    | TaskAccepted
    | TaskRefused
    | TaskStarted
    | StepStarted
    | StepEnded
    | StepLost
    | RetryDue
    | CancelRequested
    | CancelWanted
    | TaskTimedOut
    | FinallyTimedOut
    | TaskLost
    | TaskResolved
    | TaskSkipped
)


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A fact about one assignment of one task."""

    task_id: str
    fence: int
    at: float
    body: TaskEventBody
