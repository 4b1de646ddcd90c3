"""The agents' service: hands each stream to what serves it, and answers the few calls beside them. Decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import agent_link_pb2 as pb
from gamenode_proto.v1 import agent_link_pb2_grpc, artifacts_pb2
from gamenode_server.controller.bundles import bundle_for
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.identity.renewals import Renewals
from gamenode_server.rpc.agent_artifacts import AgentArtifacts
from gamenode_server.rpc.agent_session import AgentSession
from gamenode_server.rpc.answers import Answer
from gamenode_server.rpc.log_uploads import LogUploads

Context = grpc.aio.ServicerContext[Any, Any]

#: Bytes of a bundle in one message.
BUNDLE_CHUNK = 256 * 1024


class AgentLink(agent_link_pb2_grpc.AgentLinkServicer):
    """Serves nodes. Every call is judged by its certificate, never by an id in a message alone."""

    def __init__(self, core: Core, *, renewals: Renewals) -> None:
        self._core = core
        self._renewals = renewals
        self._artifacts = AgentArtifacts(core)

    async def Session(  # type: ignore[override] # it writes its frames itself, from two directions
        self, request_iterator: AsyncIterator[pb.AgentFrame], context: Context
    ) -> None:
        """The control stream."""
        await AgentSession(self._core, principals.current()).run(request_iterator, context)

    async def Logs(  # type: ignore[override] # as above
        self, request_iterator: AsyncIterator[pb.LogUpload], context: Context
    ) -> None:
        """The log stream."""
        await LogUploads(self._core, principals.current()).run(request_iterator, context)

    async def FetchBundle(self, request: pb.FetchBundleRequest, context: Context) -> AsyncIterator[pb.BundleChunk]:
        """The bytes of a bundle that a task of the calling node needs."""
        caller = principals.current()
        data = await self._core.store.apply(
            bundle_for(node_id=caller.node_id, task_id=request.task_id, digest=request.digest)
        )
        for offset in range(0, len(data), BUNDLE_CHUNK):
            yield pb.BundleChunk(data=data[offset : offset + BUNDLE_CHUNK])

    async def FetchSecrets(self, request: pb.FetchSecretsRequest, context: Context) -> pb.FetchSecretsResponse:
        """The secrets one step needs: this server keeps none."""
        raise GameNodeError(Code.SECRET_UNAVAILABLE, "this server keeps no secrets")

    async def Answer(self, request_iterator: AsyncIterator[pb.AnswerPiece], context: Context) -> pb.AnswerEnd:
        """What an operator asked this node for."""
        return await Answer(self._core, principals.current()).run(request_iterator)

    async def OfferArtifact(
        self, request: artifacts_pb2.ArtifactOffer, context: Context
    ) -> artifacts_pb2.ArtifactWanted:
        """What a step of the calling node wants to store."""
        return await self._artifacts.offer(principals.current(), request)

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[artifacts_pb2.ArtifactPiece], context: Context
    ) -> artifacts_pb2.Artifact:
        """Its content."""
        return await self._artifacts.upload(principals.current(), request_iterator)

    async def FetchArtifact(
        self, request: artifacts_pb2.FetchArtifactRequest, context: Context
    ) -> AsyncIterator[artifacts_pb2.ArtifactPiece]:
        """What a step of the calling node wants to have."""
        async for piece in self._artifacts.fetch(principals.current(), request):
            yield piece

    async def SweepArtifacts(
        self, request: artifacts_pb2.HeldArtifacts, context: Context
    ) -> artifacts_pb2.HeldArtifacts:
        """What the calling node need not keep any more."""
        return await self._artifacts.unwanted(principals.current(), request)

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        """A new certificate for a new key."""
        certificate_pem, ca_pem = await self._renewals.renew(request.csr_pem)
        return pb.RenewCertificateResponse(certificate_pem=certificate_pem, ca_pem=ca_pem)
