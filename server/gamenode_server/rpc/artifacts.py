"""The operators' artifacts service: translates, and finds what is meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import artifacts_pb2 as pb
from gamenode_proto.v1.artifacts_pb2_grpc import ArtifactsServicer
from gamenode_server.artifacts import naming
from gamenode_server.artifacts.shelf import Offer, removal
from gamenode_server.audit import recording
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.rpc.artifact_documents import document, first_of, offer_of, received, sent
from gamenode_server.store import artifacts
from gamenode_server.store.artifacts import Artifact

Context = grpc.aio.ServicerContext[Any, Any]


class Artifacts(ArtifactsServicer):
    """Serves `gamenode.v1.Artifacts`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Context) -> pb.ListArtifactsResponse:
        """Artifacts, newest first; the newest of each name, or all."""
        store = self._core.store
        if request.artifact:
            found = await store.read(naming.meant, request.artifact)
        else:
            found = await store.read(artifacts.listed)
        chosen = found if request.all else naming.newest(found)
        return pb.ListArtifactsResponse(artifacts=map(self._document, chosen))

    async def OfferArtifact(self, request: pb.ArtifactOffer, context: Context) -> pb.ArtifactWanted:
        """Begins to store a content, or goes on."""
        answer = await self._core.artifacts.offer(_offer(request), recording.current)
        if isinstance(answer, Artifact):
            return pb.ArtifactWanted(stored=self._document(answer))
        return pb.ArtifactWanted(offset=answer)

    async def UploadArtifact(self, request_iterator: AsyncIterator[pb.ArtifactPiece], context: Context) -> pb.Artifact:
        """The content, from where the offer was answered with."""
        first = await first_of(request_iterator)
        stored = await self._core.artifacts.upload(
            _offer(first.offer),
            first.offset,
            received(first, request_iterator),
            lambda: recording.current(target=first.offer.name, request=first.offer),
        )
        return self._document(stored)

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.ArtifactPiece]:
        """A content from an offset."""
        names = {node.id: node.name for node in self._core.store.view.nodes()}
        artifact = await self._core.store.read(naming.reachable, request.artifact, node_id="", name_of=names)
        async with aclosing(sent(self._core.artifacts, artifact, request.offset)) as pieces:
            async for piece in pieces:
                yield piece

    async def RemoveArtifacts(self, request: pb.RemoveArtifactsRequest, context: Context) -> pb.RemoveArtifactsResponse:
        """Removes all that is meant, or nothing where one is not there."""
        if not request.artifacts:
            raise GameNodeError(Code.INVALID_ARGUMENT, "no artifact is named")
        chosen: dict[tuple[str, str, str], Artifact] = {}
        for said in request.artifacts:
            for each in await self._core.store.read(naming.meant, said):
                chosen[each.name, each.digest, each.node_id] = each
        removed = list(chosen.values())
        if not request.dry_run:
            caller = principals.current()
            await self._core.store.apply(
                removal(removed, by=caller.name, reason=request.reason, audit=recording.current())
            )
            await self._core.artifacts.forget(removed)
        return pb.RemoveArtifactsResponse(removed=map(self._document, removed))

    def _document(self, artifact: Artifact) -> pb.Artifact:
        node = self._core.store.view.node(artifact.node_id) if artifact.node_id else None
        return document(artifact, node.name if node is not None else "")


def _offer(said: pb.ArtifactOffer) -> Offer:
    caller = principals.current()
    return offer_of(said, by=caller.name, sender=caller.key)
