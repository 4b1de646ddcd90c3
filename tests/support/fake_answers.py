"""What an agent answers a fake server that asked for a container's log."""

from __future__ import annotations

import asyncio
from typing import Any

from gamenode_proto.v1 import agent_link_pb2
from support.waiting import until


class FakeAnswer:
    """One Answer call as the server sees it."""

    def __init__(self) -> None:
        self.pieces: list[agent_link_pb2.AnswerPiece] = []
        #: The agent has said everything, or is gone.
        self.over = False
        self._enough = asyncio.Event()

    @property
    def data(self) -> bytes:
        """What it says."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def whole(self) -> bool:
        """Whether the agent said that there is no more."""
        return bool(self.pieces) and self.pieces[-1].last

    def close(self) -> None:
        """The server wants no more."""
        self._enough.set()

    async def ended(self) -> FakeAnswer:
        """Itself, once it is over."""
        await until(lambda: self.over, what="the answer's end")
        return self


class FakeAnswers:
    """All Answer calls of a fake server, by request."""

    def __init__(self) -> None:
        self.by_request: dict[str, FakeAnswer] = {}
        #: Cleared: the server reads nothing behind the first piece, as for a client that has stopped reading.
        self.reading = asyncio.Event()
        self.reading.set()
        self.peers: set[str] = set()

    async def begun(self, request_id: str) -> FakeAnswer:
        """The answer to a request, once its first piece is there."""
        await until(lambda: request_id in self.by_request, what=f"an answer to {request_id}")
        return self.by_request[request_id]

    async def serve(self, pieces: Any, context: Any) -> agent_link_pb2.AnswerEnd:
        """The server's side of one call."""
        answer = FakeAnswer()
        self.peers.add(context.peer())
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(pieces, answer))
                closer = group.create_task(answer._enough.wait())
                await asyncio.wait({reader, closer}, return_when=asyncio.FIRST_COMPLETED)
                reader.cancel()
                closer.cancel()
        finally:
            answer.over = True
        return agent_link_pb2.AnswerEnd()

    async def _read(self, pieces: Any, answer: FakeAnswer) -> None:
        async for piece in pieces:
            if not answer.pieces:
                self.by_request[piece.request_id] = answer
            answer.pieces.append(piece)
            await self.reading.wait()
