"""Carries contents to the server and from it, piece by piece over the second connection, on from where it broke off.

While there is no server it waits for one; how long is the step's own time limit to say.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

import grpc.aio

from gamenode_agent.beside import beside, write_all
from gamenode_agent.link.side_channel import OpenSide
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_size
from gamenode_proto.backoff import full_jitter
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1.artifacts_pb2 import Artifact, ArtifactOffer, ArtifactPiece, FetchArtifactRequest, HeldArtifacts
from gamenode_proto.v1.common_pb2 import AttemptRef

if TYPE_CHECKING:
    from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkAsyncStub

Say = Callable[[str], None]

PIECE: Final = 256 * 1024
#: Tries that bring nothing new although the server answers.
TRIES: Final = 5
#: Seconds between two lines that say how far it is.
_NEWS: Final = 10.0
_CAP: Final = 5.0
#: The connection, and not what was asked for.
_PASSING: Final = frozenset({Code.DISCONNECTED, Code.TIMEOUT, Code.CANCELLED})


class Carrier:
    """The way to the server. For one loop."""

    def __init__(self) -> None:
        self._open: OpenSide | None = None
        self._linked = asyncio.Event()

    def connected(self, open_side: OpenSide | None) -> None:
        """The server can be reached with this; None: it cannot."""
        self._open = open_side
        if open_side is None:
            self._linked.clear()
        else:
            self._linked.set()

    async def store(self, offer: ArtifactOffer, fd: int, say: Say) -> Artifact:
        """Has the server store the first `offer.bytes` bytes of a file; what a node keeps (`on_node`) is only named.

        Raises GameNodeError; INTEGRITY_FAILED where the file is not what was offered.
        """
        progress = _Progress(offer.bytes, say)
        tries, sent = 0, 0
        while True:
            try:
                async with self._stub(say) as stub:
                    wanted = await stub.OfferArtifact(offer)
                    if wanted.HasField("stored"):
                        return wanted.stored
                    if wanted.offset:
                        say(f"the server has {format_size(wanted.offset)} of it; going on from there")
                    tries, sent = (0 if wanted.offset > sent else tries), wanted.offset
                    return await stub.UploadArtifact(_pieces(offer, fd, wanted.offset, progress))
            except GameNodeError as error:
                if error.code in _PASSING:
                    say(f"the connection broke: {error.message}; going on when it is there again")
                elif error.code is not Code.PROTOCOL_ERROR or (tries := tries + 1) >= TRIES:
                    raise
            await asyncio.sleep(full_jitter(tries, random.random(), cap=_CAP))

    async def look(self, ref: AttemptRef, said: str, say: Say) -> Artifact:
        """What is meant by a name or digest now. Raises GameNodeError."""
        while True:
            try:
                async with self._stub(say) as stub:
                    call = stub.FetchArtifact(FetchArtifactRequest(ref=ref, artifact=said))
                    try:
                        async for piece in call:
                            return piece.artifact
                    finally:
                        call.cancel()
                    raise GameNodeError(Code.PROTOCOL_ERROR, "the server has not said what the artifact is")
            except GameNodeError as error:
                if error.code not in _PASSING:
                    raise
            await asyncio.sleep(full_jitter(1, random.random(), cap=_CAP))

    async def fetch(self, ref: AttemptRef, said: str, artifact: Artifact, fd: int, say: Say) -> None:
        """Brings the content that `look` has found, behind what is in the file. Raises GameNodeError, OSError."""
        progress = _Progress(artifact.bytes, say)
        have = (await beside(os.fstat, fd)).st_size
        if have:
            say(f"{format_size(have)} of it are here; going on from there")
        tries = 0
        while have < artifact.bytes:
            before = have
            request = FetchArtifactRequest(ref=ref, artifact=said, digest=artifact.digest, offset=have)
            try:
                async with self._stub(say) as stub:
                    call = stub.FetchArtifact(request)
                    try:
                        async for piece in call:
                            if piece.offset != have or have + len(piece.data) > artifact.bytes:
                                raise GameNodeError(Code.PROTOCOL_ERROR, "the server sends another piece than is next")
                            await beside(write_all, fd, piece.data, have)
                            have += len(piece.data)
                            failpoint("artifacts.fetched")
                            progress.at(have)
                    finally:
                        call.cancel()
            except GameNodeError as error:
                if error.code not in _PASSING:
                    raise
                say(f"the connection broke: {error.message}; going on when it is there again")
            tries = 0 if have > before else tries + 1
            if have < artifact.bytes:
                if tries >= TRIES and self._open is not None:
                    raise GameNodeError(
                        Code.STEP_FAILED, f"only {have} of {artifact.bytes} bytes of {artifact.name} come"
                    )
                await asyncio.sleep(full_jitter(tries, random.random(), cap=_CAP))

    async def unwanted(self, digests: Sequence[str]) -> Sequence[str]:
        """Of what this node keeps, what no artifact has any more. Raises GameNodeError, at once without a server."""
        if self._open is None:
            raise GameNodeError(Code.DISCONNECTED, "there is no session with the server")
        async with _named(self._open) as stub:
            return list((await stub.SweepArtifacts(HeldArtifacts(digests=digests))).digests)

    @asynccontextmanager
    async def _stub(self, say: Say) -> AsyncIterator[AgentLinkAsyncStub]:
        if self._open is None:
            say("there is no connection to the server; waiting for it")
        while self._open is None:
            await self._linked.wait()
        async with _named(self._open) as stub:
            yield stub


def _named(open_side: OpenSide) -> AbstractAsyncContextManager[AgentLinkAsyncStub]:
    """A stub whose calls raise GameNodeError."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[AgentLinkAsyncStub]:
        async with open_side() as stub:
            try:
                yield stub
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error

    return opened()


async def _pieces(offer: ArtifactOffer, fd: int, offset: int, progress: _Progress) -> AsyncIterator[ArtifactPiece]:
    yield ArtifactPiece(offer=offer, offset=offset)
    while offset < offer.bytes:
        data = await beside(os.pread, fd, min(PIECE, offer.bytes - offset), offset)
        if not data:  # it became shorter: what has come does not add up, and that is what the server says
            return
        yield ArtifactPiece(offset=offset, data=data)
        failpoint("artifacts.sent")
        offset += len(data)
        progress.at(offset)


class _Progress:
    """Says now and then how far it is."""

    def __init__(self, total: int, say: Say) -> None:
        self._total, self._say = total, say
        self._next = asyncio.get_running_loop().time() + _NEWS

    def at(self, done: int) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next and done < self._total:
            self._next = now + _NEWS
            self._say(f"{format_size(done)} of {format_size(self._total)}")
