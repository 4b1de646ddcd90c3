"""The calls of the artifacts interface: lists, and contents that go on where they broke off."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from gamenode_console.gateway.link import Link
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import artifacts_pb2 as messages
from gamenode_proto.v1.artifacts_pb2_grpc import ArtifactsStub

if TYPE_CHECKING:
    from gamenode_proto.v1.artifacts_pb2_grpc import ArtifactsAsyncStub

PIECE: Final = 256 * 1024
#: Told how many bytes are there, of how many.
Progress = Callable[[int, int], None]


def _nobody(done: int, total: int) -> None:
    """Nobody wants to hear."""


class ArtifactCalls:
    """Files that are kept by what is in them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub: ArtifactsAsyncStub = ArtifactsStub(link.channel)

    async def list_artifacts(self, artifact: str = "", *, all: bool = False) -> Sequence[messages.Artifact]:
        """Artifacts, newest first; of a name or digest, where one is given; the newest of each name, or `all`."""
        request = messages.ListArtifactsRequest(artifact=artifact, all=all)
        return (await self._link.call(self._stub.ListArtifacts, request, repeatable=True)).artifacts

    async def remove(
        self, artifacts: Sequence[str], *, reason: str = "", dry_run: bool = False
    ) -> Sequence[messages.Artifact]:
        """Removes all that is meant, and says what that was; with `dry_run` only says it."""
        request = messages.RemoveArtifactsRequest(artifacts=artifacts, reason=reason, dry_run=dry_run)
        return (await self._link.call(self._stub.RemoveArtifacts, request)).removed

    async def put(self, fd: int, offer: messages.ArtifactOffer, progress: Progress = _nobody) -> messages.Artifact:
        """Stores the first `offer.bytes` bytes of a file, over lost connections too. Raises GameNodeError."""

        sent = 0

        async def attempt() -> AsyncIterator[messages.Artifact | None]:
            nonlocal sent
            wanted = await self._link.call(self._stub.OfferArtifact, offer, repeatable=True)
            if wanted.HasField("stored"):
                yield wanted.stored
                return
            if wanted.offset > sent:  # it went on since the last time: another break begins anew
                sent = wanted.offset
                yield None
            try:
                pieces = _pieces(fd, offer, wanted.offset, progress)
                stored: messages.Artifact = await self._link.upload(self._stub.UploadArtifact, pieces)
                yield stored
            except GameNodeError as error:
                if error.code is Code.PROTOCOL_ERROR and offer.bytes <= os.fstat(fd).st_size:
                    # What the server has is not what it had a moment ago.
                    raise GameNodeError(Code.DISCONNECTED, error.message) from None
                raise

        async for done in self._link.resume(attempt, over=lambda: True):
            if done is not None:
                return done
        raise GameNodeError(Code.PROTOCOL_ERROR, "the server has not said what it has stored")

    async def get(
        self, artifact: str, open_at: Callable[[messages.Artifact], tuple[int, int]], progress: Progress = _nobody
    ) -> messages.Artifact:
        """Brings a content, over lost connections too, and checks its digest.

        `open_at` says where it goes and how much of it is there already: a file descriptor, at its end, and an offset,
        which has to be 0 where the file cannot be read. Raises GameNodeError, INTEGRITY_FAILED for another content.
        """
        found = await self._look(artifact)
        fd, have = open_at(found)
        digest = await asyncio.to_thread(_hash_of, fd, have)

        async def attempt() -> AsyncIterator[None]:
            nonlocal have
            request = messages.DownloadArtifactRequest(artifact=found.digest, offset=have)
            async with aclosing(self._link.stream(self._stub.DownloadArtifact, request)) as stream:  # type: ignore[type-var]  # an async generator
                async for piece in stream:
                    if piece.offset != have:
                        raise GameNodeError(Code.PROTOCOL_ERROR, "the server sends another piece than is next")
                    await asyncio.to_thread(_write, fd, piece.data)
                    digest.update(piece.data)
                    have += len(piece.data)
                    progress(have, found.bytes)
                    yield None

        async for _ in self._link.resume(attempt, over=lambda: have >= found.bytes):
            pass
        if (got := digest.hexdigest()) != found.digest:
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"{found.name} came as another content: it has the SHA-256 {got}, not {found.digest}",
            )
        return found

    async def _look(self, artifact: str) -> messages.Artifact:
        """What is meant, where the server has it."""
        request = messages.DownloadArtifactRequest(artifact=artifact)

        async def attempt() -> AsyncIterator[messages.ArtifactPiece]:
            async with aclosing(self._link.stream(self._stub.DownloadArtifact, request)) as stream:  # type: ignore[type-var]  # an async generator
                async for piece in stream:
                    yield piece

        async with aclosing(self._link.resume(attempt, over=lambda: True)) as pieces:  # type: ignore[type-var]  # an async generator
            async for piece in pieces:
                return piece.artifact
        raise GameNodeError(Code.PROTOCOL_ERROR, "the server has not said what the artifact is")


async def _pieces(
    fd: int, offer: messages.ArtifactOffer, offset: int, progress: Progress
) -> AsyncIterator[messages.ArtifactPiece]:
    yield messages.ArtifactPiece(offer=offer, offset=offset)
    while offset < offer.bytes:
        data = await asyncio.to_thread(os.pread, fd, min(PIECE, offer.bytes - offset), offset)
        if not data:
            return
        yield messages.ArtifactPiece(offset=offset, data=data)
        offset += len(data)
        progress(offset, offer.bytes)


def _hash_of(fd: int, size: int) -> hashlib._Hash:
    digest, at = hashlib.sha256(), 0
    while at < size and (data := os.pread(fd, min(1 << 20, size - at), at)):
        digest.update(data)
        at += len(data)
    return digest


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
