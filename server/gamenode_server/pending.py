"""What one agent was asked over its session and has not answered yet, so that whoever asked can wait for it.

An answer is found by an id that was drawn for this question alone. Owned by a session and ended with it. Knows no
frame; used on the loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gamenode_pipelines.errors import Code, Error, GameNodeError

#: Questions that may be open to one agent at a time.
MAX_PENDING = 64


class Pending:
    """The open questions of one session."""

    def __init__(self, limit: int = MAX_PENDING) -> None:
        self._limit = limit
        self._open: dict[str, asyncio.Future[Error | None]] = {}
        self._ended: Error | None = None

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def asked(self, id: str) -> Iterator[asyncio.Future[Error | None]]:
        """A question that is open inside the `with`: its future gets what the agent says, an error or None.

        Raises GameNodeError: LIMIT_EXCEEDED where too many are open, the session's end where it has ended.
        """
        if self._ended is not None:
            raise GameNodeError(self._ended.code, self._ended.message)
        if len(self._open) >= self._limit:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED, f"the node has {self._limit} commands to answer already; try again in a moment"
            )
        future: asyncio.Future[Error | None] = asyncio.get_running_loop().create_future()
        self._open[id] = future
        try:
            yield future
        finally:
            del self._open[id]

    def answered(self, id: str, error: Error | None) -> bool:
        """The agent answers. False where nobody waits for it (any more)."""
        future = self._open.get(id)
        if future is None or future.done():
            return False
        future.set_result(error)
        return True

    def end(self, error: Error) -> None:
        """The session is over: nothing that is open will be answered."""
        if self._ended is None:
            self._ended = error
        for future in self._open.values():
            if not future.done():
                future.set_result(error)
