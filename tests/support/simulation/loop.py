"""Virtual time: things happen in the order of their moments, and nothing happens for what has died meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from gamenode_pipelines.effects import TaskEffect
from gamenode_pipelines.events import TaskEvent
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.tasks import Task

#: `tasks.step`, or a broken one.
Fold = Callable[[Task, Plan, TaskEvent], tuple[Task, tuple[TaskEffect, ...]]]


class Life:
    """A process, a session, a program's run: what it had planned does not happen once it is over."""

    __slots__ = ("alive",)

    def __init__(self) -> None:
        self.alive = True


class Loop:
    """An event queue. Equal moments keep the order in which they were planned."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, Life, Callable[..., None], tuple[Any, ...]]] = []
        self._number = count()

    def later(self, delay: float, life: Life, do: Callable[..., None], *args: Any) -> None:
        """Calls `do` after `delay` seconds, if `life` is not over by then."""
        heapq.heappush(self._queue, (self.now + max(0.0, delay), next(self._number), life, do, args))

    def run(self, until: float, done: Callable[[], bool] | None = None) -> bool:
        """Lets time pass; True when `done` said so before it was up."""
        queue = self._queue
        checked = self.now
        while queue and queue[0][0] <= until:
            at, _, life, do, args = heapq.heappop(queue)
            if not life.alive:
                continue
            self.now = at
            do(*args)
            if done is not None and at - checked > 1.0:
                checked = at
                if done():
                    return True
        self.now = until
        return done is not None and done()


class Committer:
    """One writer's transactions: each happens some time after it was asked for, whole or not at all, in order.

    What a transaction returns is done after it, and not at all if the program dies between the two.
    """

    def __init__(self, loop: Loop, delay: Callable[[], float]) -> None:
        self._loop = loop
        self._delay = delay
        self._free = 0.0

    def apply(self, life: Life, operation: Callable[[], Callable[[], None] | None]) -> None:
        """Plans a transaction."""
        loop = self._loop
        self._free = max(self._free, loop.now) + self._delay()
        loop.later(self._free - loop.now, life, self._commit, life, operation)

    def _commit(self, life: Life, operation: Callable[[], Callable[[], None] | None]) -> None:
        after = operation()
        if after is not None:
            self._free = max(self._free, self._loop.now) + self._delay()
            self._loop.later(self._free - self._loop.now, life, after)
