"""What the server must do about a node that has just opened a session: what should be there against what is.

Pure. Compares the tasks the server has for the node with the inventory in the agent's Hello, and answers with what to
send and what to fold. Which records of the outbox are still to come changes nothing here: they are folded as they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.states import TaskState


@dataclass(frozen=True, slots=True)
class Expected:
    """A task the server has for the node: every one that has not ended, and any other that the inventory names.

    `cancel` is what somebody asked for and the task has not taken yet. `unreachable` is set while the task was given up
    only because its node was out of reach (`Task.lost_from`).
    """

    task_id: str
    fence: int
    state: TaskState
    accepted: bool = False
    cancel: CancelInfo | None = None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """An assignment the agent has: accepted, and its last event not yet acknowledged."""

    task_id: str
    fence: int
    state: TaskState


@dataclass(frozen=True, slots=True)
class SendAssign:
    """Send the assignment (again): same fence."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Send the cancel (again)."""

    task_id: str
    fence: int
    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class CancelHere:
    """Fold `CancelRequested`: the assignment is not on the node, so nothing there has to end first."""

    task_id: str
    fence: int
    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class DeclareLost:
    """Fold `TaskLost(reason, gone=True)`: the node has no memory of what it accepted."""

    task_id: str
    fence: int
    reason: str


@dataclass(frozen=True, slots=True)
class TakeUp:
    """Fold `TaskAccepted`: the node still has what was given up while it was out of reach."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Supersede:
    """Have the agent stop this assignment at once, without `finally`, and drop it: it is no longer the task's."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Tell the agent that it may drop what it keeps of this assignment: the server knows its end."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class ReportUnknown:
    """The agent has an assignment this server never gave: it was restored from a backup, or the node was moved."""

    task_id: str
    fence: int


Action = SendAssign | SendCancel | CancelHere | DeclareLost | TakeUp | Supersede | Forget | ReportUnknown

_FORGOTTEN = "the node no longer knows of this assignment"
_NEW_MEMORY = "the node has lost its memory of what it did"


def reconcile(expected: Iterable[Expected], inventory: Iterable[Held], *, outbox_known: bool) -> tuple[Action, ...]:
    """What to do, in order: first what must stop or go, then task by task in the order of `expected`.

    `outbox_known` is False when the agent's outbox is not the one the server has been reading, so that its memory of
    earlier work is gone. A node that never had an outbox before has nothing to forget: that is True.
    """
    have: dict[str, list[Held]] = {}
    for held in inventory:
        have.setdefault(held.task_id, []).append(held)
    first: list[Action] = []
    then: list[Action] = []
    for want in expected:
        mine: Held | None = None
        newer = False
        for held in have.pop(want.task_id, ()):
            if held.fence > want.fence:
                newer = True
                first.append(ReportUnknown(held.task_id, held.fence))
            elif held.fence < want.fence:
                first.append(_drop(held))
            else:
                mine = held
        if mine is not None and (want.state.ended or not (outbox_known or newer)):
            first.append(_drop(mine))
            mine = None
        if not newer:  # somebody who knows more has moved this task on: it is not ours to move
            then.extend(_move(want, mine, outbox_known=outbox_known))
    for unknown in have.values():
        first.extend(ReportUnknown(held.task_id, held.fence) for held in unknown)
    return (*first, *then)


def _drop(held: Held) -> Action:
    over = held.state.ended or held.state in _OVER
    return Forget(held.task_id, held.fence) if over else Supersede(held.task_id, held.fence)


#: Not an end of the task, but of the assignment on its node.
_OVER = frozenset({TaskState.LOST, TaskState.NEEDS_ATTENTION})


def _move(want: Expected, mine: Held | None, *, outbox_known: bool) -> Iterable[Action]:
    id, fence, cancel = want.task_id, want.fence, want.cancel
    match want.state:
        case TaskState.PENDING | TaskState.SUCCEEDED | TaskState.FAILED | TaskState.CANCELLED | TaskState.SKIPPED:
            return
        case TaskState.DISPATCHED | TaskState.RUNNING | TaskState.WAITING | TaskState.CANCELLING:
            if mine is not None:
                if cancel is not None and not _is_over(mine):
                    yield SendCancel(id, fence, cancel)
            elif not outbox_known:
                yield DeclareLost(id, fence, _NEW_MEMORY)
            elif want.accepted or want.state is not TaskState.DISPATCHED:
                yield DeclareLost(id, fence, _FORGOTTEN)
            elif cancel is not None:
                yield CancelHere(id, fence, cancel)
            else:
                yield SendAssign(id, fence)
        case TaskState.LOST | TaskState.NEEDS_ATTENTION:
            if mine is None:
                if want.unreachable:
                    yield DeclareLost(id, fence, _FORGOTTEN if outbox_known else _NEW_MEMORY)
                # Of one that needs attention only a person may say that nothing of it is left.
                if cancel is not None and want.state is TaskState.LOST:
                    yield CancelHere(id, fence, cancel)
            elif not _is_over(mine):  # else its end is on its way, and takes the task up
                if want.unreachable:
                    yield TakeUp(id, fence)
                    if cancel is not None:
                        yield SendCancel(id, fence, cancel)
                else:
                    yield Supersede(id, fence)
        case _:
            assert_never(want.state)


def _is_over(held: Held) -> bool:
    return held.state.ended or held.state in _OVER
