"""What a committed operation wants done on the server's loop. Imperative; carried out in commit order by `dispatch`.

Every one of them may be lost (a crash right after the commit): each can be derived again from what is stored, by the
next session of its node or by the timers.
"""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_pipelines.errors import Error
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.gates import Decision
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import Task


@dataclass(frozen=True, slots=True)
class ActivateSession:
    """The session that is being opened under this id is the node's from now on; it fences any earlier one."""

    session_id: str
    node_id: str
    epoch: int
    acked: int


@dataclass(frozen=True, slots=True)
class SendAssign:
    """Give the task, as it was stored, to its node."""

    task: Task
    bundle_digest: str


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Ask the task's node to end it."""

    node_id: str
    task_id: str
    fence: int
    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class SendDecision:
    """Tell the task's node what was said of a step that waits there."""

    node_id: str
    task_id: str
    fence: int
    step_id: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class SendForget:
    """Tell the node that it may drop what it keeps of these assignments: (task id, fence, state)."""

    node_id: str
    tasks: tuple[tuple[str, int, TaskState], ...]


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End the node's session now, for this reason; with `forget` the node itself is gone."""

    node_id: str
    error: Error
    forget: bool = False


@dataclass(frozen=True, slots=True)
class ContinueRun:
    """More than one transaction's worth of the run's tasks wait to be made, given out or ended: go on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The node's labels or intervals changed: tell its agent."""

    node_id: str


@dataclass(frozen=True, slots=True)
class UserChanged:
    """A user was made or, with an error, shut out: end its calls now, and look at the roles of local users again."""

    name: str
    error: Error | None = None


ServerEffect = (
    ActivateSession
    | SendAssign
    | SendCancel
    | SendDecision
    | SendForget
    | CloseSession
    | ContinueRun
    | ConfigChanged
    | UserChanged
)
