"""One channel to one server: calls that show who we are, errors as GameNodeError, streams that resume."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.backoff import delays
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.clock import Clock

Q = TypeVar("Q")
T = TypeVar("T")

#: Seconds for an answer to a plain call.
CALL_TIMEOUT = 30.0
#: Seconds for which a call that may be repeated is tried again when the server goes away under it.
CALL_PATIENCE = 10.0
#: Seconds for which a stream waits for a server that went away.
STREAM_PATIENCE = 120.0
_BASE, _CAP = 0.2, 3.0
#: What is told when a lost connection is there again.
AGAIN = "connected again"


class Login(Protocol):
    """How calls show who makes them."""

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call. Raises GameNodeError where the server is away or says no."""
        ...

    def forget(self) -> None:
        """Drops what is known: the server is gone, or has refused it."""
        ...


class Link:
    """A channel, who we are on it, and whom to tell when it is lost. For one loop; closes with `close`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        login: Login,
        *,
        clock: Clock,
        notify: Callable[[str], None],
        patience: float = STREAM_PATIENCE,
    ) -> None:
        self.channel = channel
        self._login = login
        self._clock = clock
        self._notify = notify
        self._patience = patience

    async def close(self) -> None:
        """Ends every call and the connection."""
        await self.channel.close()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Q, T],
        request: Q,
        *,
        repeatable: bool = False,
        deadline: float = CALL_TIMEOUT,
    ) -> T:
        """One call. `repeatable` ones (reads, and writes that say so) survive a server that restarts under them."""
        give_up = self._clock.now() + CALL_PATIENCE
        pauses = delays(random.random, base=_BASE, cap=_CAP)
        fresh_login = False
        while True:
            try:
                metadata = await self._login.metadata()
                return await method(request, timeout=deadline, metadata=metadata)
            except grpc.aio.AioRpcError as failed:
                error = from_rpc(failed)
            except GameNodeError as failed:
                error = failed
            if error.code is Code.UNAUTHENTICATED and not fresh_login:
                # The token is from a server that has been replaced; a refused call had no effect.
                fresh_login = True
                self._login.forget()
                continue
            if not repeatable or error.code is not Code.DISCONNECTED or self._clock.now() >= give_up:
                raise error
            self._login.forget()
            await asyncio.sleep(next(pauses))

    async def stream(self, method: grpc.aio.UnaryStreamMultiCallable[Q, T], request: Q) -> AsyncIterator[T]:
        """One stream, as far as its connection holds. Ends normally where the server ends it."""
        call = method(request, metadata=await self._login.metadata())
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as failed:
            raise from_rpc(failed) from None
        finally:
            call.cancel()

    async def upload(self, method: grpc.aio.StreamUnaryMultiCallable[Q, T], requests: AsyncIterator[Q]) -> T:
        """One call that sends many messages, as far as its connection holds."""
        try:
            return await method(requests, metadata=await self._login.metadata())
        except grpc.aio.AioRpcError as failed:
            raise from_rpc(failed) from None

    async def resume(self, attempt: Callable[[], AsyncIterator[T]], *, over: Callable[[], bool]) -> AsyncIterator[T]:
        """Messages of one stream after the other: `attempt` opens the next where the last one stopped.

        Ends when a stream ends normally and `over()`; a stream that breaks, or ends too early, is opened again until
        nothing has come for the link's patience. Raises the GameNodeError of whatever is not a lost connection.
        """
        pauses = delays(random.random, base=_BASE, cap=_CAP)
        lost_at: float | None = None
        refused = False
        while True:
            error = GameNodeError(Code.DISCONNECTED, "the server closed the stream")
            try:
                messages = attempt()
                try:
                    async for message in messages:
                        if lost_at is not None:
                            self._notify(AGAIN)
                            lost_at, pauses = None, delays(random.random, base=_BASE, cap=_CAP)
                        refused = False
                        yield message
                finally:
                    await messages.aclose()  # type: ignore[attr-defined]  # every attempt is an async generator
                if over():
                    return
            except GameNodeError as failed:
                error = failed
            if error.code is Code.UNAUTHENTICATED and not refused:
                refused = True
            elif error.code not in (Code.DISCONNECTED, Code.CANCELLED):
                # A stream that nobody cancelled ends as cancelled when its server stops.
                raise error
            self._login.forget()
            if lost_at is None:
                lost_at = self._clock.now()
                if not refused:
                    self._notify(f"connection lost ({error.message.splitlines()[0]}); trying again")
            elif self._clock.now() - lost_at >= self._patience:
                raise GameNodeError(Code.DISCONNECTED, error.message)
            await asyncio.sleep(next(pauses))
