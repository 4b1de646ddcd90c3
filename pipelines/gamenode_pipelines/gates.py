"""What keeps a run from beginning or going on: an approval, other runs of its group, an operator's hand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OnConflict(StrEnum):
    """What happens to a run whose group is taken."""

    #: It waits for its turn.
    QUEUE = "queue"
    #: It is not made.
    REJECT = "reject"
    #: The older ones are cancelled, and it starts after them.
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Of what shares a group only one is under way at a time.

    `group` is a template. Where it says something of the node, each task has a group, else the run has one.
    """

    group: str
    on_conflict: OnConflict = OnConflict.QUEUE


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody of this role must agree. `message` says to what."""

    by: str = "operator"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was said of an approval, by whom, when and why."""

    approved: bool
    by: str
    reason: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody has paused a run."""

    by: str
    reason: str = ""
    at: float = 0.0
