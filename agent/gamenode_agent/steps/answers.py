"""What operators have said to steps that wait for them: each is told once, and forgotten with the step."""

from __future__ import annotations

import asyncio

from gamenode_pipelines.gates import Decision

#: A task, its fence, and a step of it.
Asking = tuple[str, int, str]


class Answers:
    """Used on the loop only."""

    def __init__(self) -> None:
        self._waiting: dict[Asking, asyncio.Future[Decision]] = {}
        self._early: dict[Asking, Decision] = {}

    def put(self, asking: Asking, decision: Decision) -> None:
        """Somebody has said it. The first word counts."""
        future = self._waiting.get(asking)
        if future is None:
            self._early.setdefault(asking, decision)
        elif not future.done():
            future.set_result(decision)

    async def wait(self, asking: Asking) -> Decision:
        """What was said, as soon as it is."""
        early = self._early.pop(asking, None)
        if early is not None:
            return early
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting[asking] = future
        try:
            return await future
        finally:
            del self._waiting[asking]
