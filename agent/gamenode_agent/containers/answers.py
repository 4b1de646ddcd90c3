"""Answers that take longer than a word: a container's log, line by line, on the second connection.

One call for each; it ends when the log does, when the server ends it, or with the session. A slow server holds the
log's reading back, so that nothing piles up here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc.aio

from gamenode_agent.engines.containers import ContainerEngine
from gamenode_agent.failures import leaves
from gamenode_agent.link.side_channel import OpenSide
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.v1.agent_link_pb2 import AnswerEnd, AnswerPiece, ContainerLogsWanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    Call = grpc.aio.StreamUnaryCall[AnswerPiece, AnswerEnd]

logger = logging.getLogger(__name__)

#: More logs than this are not read at once.
AT_ONCE = 16
#: Refusals are answers, too: beyond this many under way, a question gets none.
UNDER_WAY = 2 * AT_ONCE
#: How long the server may take to close a call that has said everything, seconds.
CLOSING = 10.0


class Answers:
    """The answers of one agent. Everything on one loop."""

    def __init__(self, engine: ContainerEngine | None, *, engine_wait: float, group: asyncio.TaskGroup) -> None:
        self._engine = engine
        self._engine_wait = engine_wait
        self._group = group
        self._open: OpenSide | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def connected(self, open_side: OpenSide | None) -> None:
        """Follows the session: what was asked by one that is over is not answered."""
        self._open = open_side
        if open_side is None:
            for task in self._under_way.values():
                task.cancel()

    def logs_wanted(self, wanted: ContainerLogsWanted) -> None:
        """Begins an answer; a question that is being answered is not answered twice."""
        request_id = wanted.request_id
        if self._open is None or request_id in self._under_way:
            return
        if len(self._under_way) >= UNDER_WAY:
            logger.warning("too many answers are under way: one more is not begun", extra={"request": request_id})
            return
        copy = ContainerLogsWanted()
        copy.CopyFrom(wanted)
        refused = None
        if len(self._under_way) >= AT_ONCE:
            problem = f"this node reads {AT_ONCE} logs of containers already, which is the limit"
            refused = GameNodeError(Code.LIMIT_EXCEEDED, problem)
        task = self._group.create_task(self._answer(self._open, copy, refused), name=f"answer {request_id}")
        self._under_way[request_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(request_id, None))

    async def _answer(self, open_side: OpenSide, wanted: ContainerLogsWanted, refused: GameNodeError | None) -> None:
        try:
            async with open_side() as stub:
                call = stub.Answer()
                try:
                    await self._talk(call, wanted, refused)
                finally:
                    call.cancel()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            # The server wants no more, or cannot be reached: who asked will know.
            logger.debug("an answer has ended: %s", error, extra={"container": wanted.container})
        except Exception:
            logger.exception("an answer has failed", extra={"container": wanted.container})

    async def _talk(self, call: Call, wanted: ContainerLogsWanted, refused: GameNodeError | None) -> None:
        """Says everything, or as much as the server wants to hear."""
        try:
            async with asyncio.TaskGroup() as group:
                saying = group.create_task(self._say(call, wanted, refused))
                # A log that is quiet says nothing: that the server has left is heard from the call.
                call.add_done_callback(lambda _: _cancel(saying))
                await asyncio.wait({saying})
                async with asyncio.timeout(CLOSING):
                    await call
        except BaseExceptionGroup as ended:
            raise leaves(ended)[0] from None

    async def _say(self, call: Call, wanted: ContainerLogsWanted, refused: GameNodeError | None) -> None:
        await call.write(AnswerPiece(request_id=wanted.request_id))  # at once: the server waits for it
        last = AnswerPiece(last=True)
        try:
            if refused is not None:
                raise refused
            async with aclosing(self._pieces(wanted)) as pieces:
                async for piece in pieces:
                    await call.write(piece)
        except GameNodeError as error:
            last.error.CopyFrom(error_to_proto(error.error))
        await call.write(last)
        await call.done_writing()

    async def _pieces(self, wanted: ContainerLogsWanted) -> AsyncGenerator[AnswerPiece]:
        engine = self._engine
        if engine is None:
            raise GameNodeError(Code.ENGINE_UNAVAILABLE, "this agent was started without a container engine")
        await engine.ready(self._engine_wait)
        if await engine.inspect(wanted.container) is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no container {wanted.container!r} on this node")
        lines = engine.logs(wanted.container, since=wanted.since, tail=wanted.tail, follow=wanted.follow)
        async for line in lines:
            yield AnswerPiece(data=line.data, time=line.time, stream=line.stream)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
