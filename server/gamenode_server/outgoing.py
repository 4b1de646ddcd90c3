"""The frames on their way to one agent: in order, bounded, acknowledgements merged into one.

Knows no stream: whoever owns it takes frames with `next`.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.v1 import agent_link_pb2

#: An agent that is this many frames behind does not read any more: its session ends and starts over.
CAPACITY = 4096
#: An acknowledgement of records waits this long for others, seconds: nothing but the agent's pruning hangs on it.
ACK_DELAY = 0.01


class Outgoing:
    """A queue that never blocks the one who puts. Used on the loop only."""

    __slots__ = ("_acked", "_capacity", "_dirty", "_due", "_error", "_finished", "_frames", "_heartbeat", "_wake")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._frames: deque[agent_link_pb2.ServerFrame] = deque()
        self._wake = asyncio.Event()
        self._error: Error | None = None
        self._finished = False
        #: There is something to acknowledge, and it has waited for company long enough.
        self._dirty = False
        self._due = False
        self._acked = 0
        self._heartbeat = 0

    @property
    def closed(self) -> bool:
        """Nothing that is put now will be sent."""
        return self._error is not None or self._finished

    def put(self, frame: agent_link_pb2.ServerFrame) -> None:
        """Sends a frame after those before it. An agent that does not read loses its session."""
        if self.closed:
            return
        if len(self._frames) >= self._capacity:
            self.close(Error(Code.LIMIT_EXCEEDED, "the agent does not read its session"))
            return
        self._frames.append(frame)
        self._wake.set()

    def start_at(self, acked: int) -> None:
        """Where the agent's outbox is stored to when the session begins."""
        self._acked = acked

    def ack(self, *, acked: int | None = None, heartbeat: int | None = None) -> None:
        """Sends the newest acknowledgement: of a heartbeat at once, of records in a moment."""
        if acked is not None:
            self._acked = acked
        if heartbeat is not None:
            self._heartbeat = heartbeat
            self._now_due()
        elif not self._dirty:
            asyncio.get_running_loop().call_later(ACK_DELAY, self._now_due)
        self._dirty = True

    def _now_due(self) -> None:
        self._due = True
        self._wake.set()

    def close(self, error: Error) -> None:
        """Ends the session with this error; what is still queued is dropped. The first error counts."""
        if self._error is None:
            self._error = error
            self._frames.clear()
            self._wake.set()

    def finish(self) -> None:
        """Ends the session without an error once everything queued has been sent."""
        self._finished = True
        self._wake.set()

    async def next(self) -> agent_link_pb2.ServerFrame | None:
        """The next frame to write; None at the end. Raises the error the session was closed with."""
        while True:
            if self._error is not None:
                raise GameNodeError(self._error.code, self._error.message, details=self._error.details)
            if self._frames:
                return self._frames.popleft()
            if self._dirty and (self._due or self._finished):
                self._dirty = self._due = False
                return agent_link_pb2.ServerFrame(ack=agent_link_pb2.Ack(acked=self._acked, heartbeat=self._heartbeat))
            if self._finished:
                return None
            self._wake.clear()
            await self._wake.wait()
