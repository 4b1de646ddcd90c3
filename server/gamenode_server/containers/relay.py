"""Brings what a node answers to the operator who asked: one relay for each question, matched by id and by node.

Bounded everywhere: at most so many relays, and in each so many bytes between the agent's stream, which is not read any
further then, and the operator's. Either side's end ends the other's. Knows no stream; used on the loop only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, Error, GameNodeError

#: Relays of the whole server, and of one node, whose connection carries only so many calls.
MAX_RELAYS = 64
MAX_NODE_RELAYS = 8
#: Bytes that may wait for the operator; one piece more than that is taken.
WAITING_BYTES = 256 * 1024
#: What a piece counts beside its bytes: many empty ones take room too.
PIECE_COST = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer."""

    data: bytes
    time: float
    stream: int


class Relay:
    """One question and its answer, between two calls."""

    def __init__(
        self, id: str, node_id: str, *, on_claim: Callable[[], object] | None = None, capacity: int = WAITING_BYTES
    ) -> None:
        self.id = id
        self.node_id = node_id
        self._on_claim = on_claim
        #: Set once the operator wants no more: the agent's call is to end.
        self.left = asyncio.Event()
        self._capacity = capacity
        self._pieces: deque[Piece] = deque()
        self._waiting = 0
        self._claimed = False
        self._ended = False
        self._error: Error | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def waiting(self) -> int:
        """What waits for the operator, in bytes."""
        return self._waiting

    def claim(self) -> bool:
        """The agent's call takes the question; False where another one has it."""
        if self._claimed:
            return False
        self._claimed = True
        if self._on_claim is not None:
            self._on_claim()
        return True

    async def put(self, piece: Piece) -> None:
        """Hands on a piece as soon as there is room."""
        await self._room.wait()
        if not piece.data:
            return
        self._pieces.append(piece)
        self._waiting += _cost(piece)
        if self._waiting >= self._capacity:
            self._room.clear()
        self._filled.set()

    def end(self, error: Error | None = None) -> None:
        """The agent has no more to say, or cannot. The first end counts; what was handed on before is still told."""
        if not self._ended:
            self._ended, self._error = True, error
            self._filled.set()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The answer in order. Raises the error it ended with."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._waiting -= _cost(piece)
                if self._waiting < self._capacity:
                    self._room.set()
                yield piece
            if self._ended:
                if self._error is not None:
                    raise GameNodeError(self._error.code, self._error.message, details=self._error.details)
                return
            self._filled.clear()
            await self._filled.wait()


class Relays:
    """Every relay of the server."""

    def __init__(self, *, limit: int = MAX_RELAYS, node_limit: int = MAX_NODE_RELAYS) -> None:
        self._limit = limit
        self._node_limit = node_limit
        self._open: dict[str, Relay] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Relay]:
        return iter(list(self._open.values()))

    @contextmanager
    def opened(self, id: str, node_id: str, *, on_claim: Callable[[], object] | None = None) -> Iterator[Relay]:
        """A relay that is open inside the `with`; LIMIT_EXCEEDED where there are too many.

        `on_claim` is called when the node begins to answer.
        """
        if len(self._open) >= self._limit:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED, f"{self._limit} logs of containers are being read already, which is the limit"
            )
        if sum(relay.node_id == node_id for relay in self._open.values()) >= self._node_limit:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"{self._node_limit} logs of containers are being read from this node already, which is the limit",
            )
        relay = self._open[id] = Relay(id, node_id, on_claim=on_claim)
        try:
            yield relay
        finally:
            del self._open[id]
            relay.left.set()

    def claim(self, id: str, node_id: str) -> Relay:
        """The relay a node's answer belongs to.

        Raises GameNodeError: PERMISSION_DENIED where another node was asked, NOT_FOUND where nobody waits for it (any
        more), STATE_CONFLICT where it is being answered.
        """
        relay = self._open.get(id)
        if relay is None:
            raise GameNodeError(Code.NOT_FOUND, "nobody waits for this answer any more")
        if relay.node_id != node_id:
            raise GameNodeError(Code.PERMISSION_DENIED, "this question was put to another node")
        if not relay.claim():
            raise GameNodeError(Code.STATE_CONFLICT, "this question is being answered already")
        return relay


def _cost(piece: Piece) -> int:
    return len(piece.data) + PIECE_COST
