"""How a run moves over its nodes: how many at once, in which order, how many failures it stands, when it waits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Order(StrEnum):
    """Which nodes come first."""

    NAME = "name"
    #: The least busy first.
    LOAD = "load"
    #: Another order for each run, always the same for one run.
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Share:
    """So many tasks, or so many percent of a run's tasks."""

    amount: int
    percent: bool = False

    def of(self, total: int) -> int:
        """The number for a run of `total` tasks; percentages are rounded up, so that none of them is nothing."""
        return math.ceil(self.amount * total / 100) if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount}%" if self.percent else str(self.amount)


@dataclass(frozen=True, slots=True)
class Rollout:
    """What holds for one run. Tasks; 0 is no limit. Seconds.

    `canary` tasks come first, and the others only when all of those have succeeded. `pause` is how long nothing starts
    after a task has ended.
    """

    max_parallel: int = 0
    max_failures: int = 1
    canary: int = 0
    pause: float = 0.0
    order: Order = Order.NAME


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """What a pipeline says of it, for runs of any size."""

    max_parallel: Share = Share(0)
    max_failures: Share = Share(1)
    canary: Share = Share(0)
    pause: float = 0.0
    order: Order = Order.NAME

    def of(self, total: int) -> Rollout:
        """The rollout of a run of `total` tasks."""
        return Rollout(
            self.max_parallel.of(total), self.max_failures.of(total), self.canary.of(total), self.pause, self.order
        )


#: All tasks at once; the first failure stops what has not begun.
AT_ONCE: Final = RolloutPolicy()
NO_LIMIT: Final = Rollout()


def policy_of(rollout: Rollout) -> RolloutPolicy:
    """The policy that a run was made with, as far as it still can be told: percentages have become numbers."""
    return RolloutPolicy(
        Share(rollout.max_parallel), Share(rollout.max_failures), Share(rollout.canary), rollout.pause, rollout.order
    )
