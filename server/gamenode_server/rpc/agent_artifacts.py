"""The artifacts calls of the agents' service: whose step it is, then as for operators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import artifacts_pb2 as pb
from gamenode_server.artifacts import naming
from gamenode_server.artifacts.rights import FETCHES, STORES, run_of
from gamenode_server.artifacts.shelf import Offer
from gamenode_server.core import Core
from gamenode_server.identity.principals import Principal
from gamenode_server.rpc.artifact_documents import document, first_of, offer_of, received, sent
from gamenode_server.store import artifacts
from gamenode_server.store.artifacts import Artifact

#: Digests of one call.
MAX_HELD = 100_000


class AgentArtifacts:
    """Serves them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def offer(self, caller: Principal, request: pb.ArtifactOffer) -> pb.ArtifactWanted:
        """Begins to store what a step has, or goes on; what the node keeps itself only gets its name."""
        answer = await self._core.artifacts.offer(await self._offer(caller, request))
        if isinstance(answer, Artifact):
            return pb.ArtifactWanted(stored=document(answer))
        return pb.ArtifactWanted(offset=answer)

    async def upload(self, caller: Principal, pieces: AsyncIterator[pb.ArtifactPiece]) -> pb.Artifact:
        """The content, from where the offer was answered with."""
        first = await first_of(pieces)
        if first.offer.on_node:
            raise GameNodeError(Code.PROTOCOL_ERROR, "what a node keeps is not sent")
        offer = await self._offer(caller, first.offer)
        return document(await self._core.artifacts.upload(offer, first.offset, received(first, pieces)))

    async def fetch(self, caller: Principal, request: pb.FetchArtifactRequest) -> AsyncIterator[pb.ArtifactPiece]:
        """A content from an offset, without data where the node has it itself."""
        store = self._core.store
        await store.apply(
            run_of(self._core.plans, request.ref, node_id=caller.node_id, kinds=FETCHES, said=request.artifact)
        )
        names = {node.id: node.name for node in store.view.nodes()}
        artifact = await store.read(
            naming.reachable, request.artifact, node_id=caller.node_id, name_of=names, digest=request.digest
        )
        here = bool(artifact.node_id)
        async with aclosing(sent(self._core.artifacts, artifact, request.offset, data=not here)) as pieces:
            async for piece in pieces:
                yield piece

    async def unwanted(self, caller: Principal, request: pb.HeldArtifacts) -> pb.HeldArtifacts:
        """Of what the node keeps, what no artifact has any more."""
        if len(request.digests) > MAX_HELD:
            raise GameNodeError(Code.LIMIT_EXCEEDED, f"a call may name {MAX_HELD} digests")
        known = await self._core.store.read(artifacts.of_node, caller.node_id)
        return pb.HeldArtifacts(digests=[digest for digest in request.digests if digest not in known])

    async def _offer(self, caller: Principal, said: pb.ArtifactOffer) -> Offer:
        allowed = run_of(self._core.plans, said.ref, node_id=caller.node_id, kinds=STORES, said=said.name)
        offer = offer_of(
            said,
            by=caller.name,
            sender=caller.key,
            node_id=caller.node_id if said.on_node else "",
            run_id=await self._core.store.apply(allowed),
        )
        return replace(offer, allowed=allowed)
