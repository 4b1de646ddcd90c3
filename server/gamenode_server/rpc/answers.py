"""One node's answer to something an operator asked: its pieces to the relay that waits for them, both ways to the end.

A node may answer only what it was asked itself; an answer to another node's question is refused and written down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.codec.errors import error_from_proto
from gamenode_proto.v1 import agent_link_pb2 as pb
from gamenode_server.containers.relay import Piece, Relay
from gamenode_server.core import Core
from gamenode_server.identity.principals import Principal
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store.tx import Tx


class Answer:
    """Serves one Answer call."""

    def __init__(self, core: Core, principal: Principal) -> None:
        self._core = core
        self._principal = principal

    async def run(self, pieces: AsyncIterator[pb.AnswerPiece]) -> pb.AnswerEnd:
        """Serves the call until the node has said everything or the operator wants no more."""
        first = await self._first(pieces)
        relay = await self._claim(first.request_id)
        broken = Error(Code.DISCONNECTED, f"{self._principal.name.removeprefix('node:')} went away while it answered")
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump(relay, first, pieces))
                pump.add_done_callback(lambda _: relay.left.set())
                await relay.left.wait()
                pump.cancel()
        finally:
            relay.end(broken)  # counts where no last piece has come: a call that breaks just ends here
        return pb.AnswerEnd()

    async def _first(self, pieces: AsyncIterator[pb.AnswerPiece]) -> pb.AnswerPiece:
        try:
            async with asyncio.timeout(self._core.intervals.answer):
                first = await anext(pieces, None)
        except TimeoutError:
            raise GameNodeError(Code.TIMEOUT, "an answer began and did not say what it answers") from None
        if first is None or not first.request_id:
            raise GameNodeError(Code.PROTOCOL_ERROR, "the first piece of an answer names what it answers")
        return first

    async def _claim(self, request_id: str) -> Relay:
        try:
            return self._core.relays.claim(request_id, self._principal.node_id)
        except GameNodeError as error:
            if error.code is Code.PERMISSION_DENIED:
                await self._core.store.apply(_foreign(self._principal, request_id))
            raise

    async def _pump(self, relay: Relay, first: pb.AnswerPiece, pieces: AsyncIterator[pb.AnswerPiece]) -> None:
        piece: pb.AnswerPiece | None = first
        while piece is not None:
            await relay.put(Piece(piece.data, piece.time, piece.stream))
            if piece.error.code:
                relay.end(error_from_proto(piece.error))
                return
            if piece.last:
                relay.end()
                return
            piece = await anext(pieces, None)


def _foreign(principal: Principal, request_id: str) -> Callable[[Tx], None]:
    def op(tx: Tx) -> None:
        message = f"{principal.name} answered what another node was asked"
        tx.audit(
            NewAudit(
                principal=principal.name,
                method="Answer",
                target=request_id,
                outcome=Code.PERMISSION_DENIED.value,
                request="",
                source=principal.source,
                reason=message,
            )
        )
        tx.emit([NewEvent(type="node.report_refused", node_id=principal.node_id, data={"message": message})])

    return op
