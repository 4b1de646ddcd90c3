"""The enrolment service: hosts that are not nodes yet, or whose certificate has ended. Only translates.

Failures are audited, and slowed down by source; a fleet that joins is not.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.v1 import enrolment_pb2 as pb
from gamenode_proto.v1.enrolment_pb2_grpc import EnrolmentServicer
from gamenode_server.advertising import Advertised
from gamenode_server.audit import recording
from gamenode_server.identity import principals, standing
from gamenode_server.identity.ca import Cluster, new_serial
from gamenode_server.identity.certificates import proves_key, read_csr
from gamenode_server.identity.joining import Claim, join
from gamenode_server.identity.throttle import FailureThrottle
from gamenode_server.records import NewAudit
from gamenode_server.store import Store

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

MAX_FACTS = 64 * 1024
NONCE_BYTES = 32
NONCE_LIFE = 60.0
MAX_NONCES = 10_000


class Enrolment(EnrolmentServicer):
    """Serves `gamenode.v1.Enrolment`."""

    def __init__(
        self,
        store: Store,
        *,
        cluster: Cluster,
        wall: Callable[[], float],
        certificate_life: float,
        advertised: Callable[[], Advertised],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._wall = wall
        self._life = certificate_life
        self._advertised = advertised
        self._throttle = FailureThrottle()
        self._nonces: dict[bytes, tuple[str, float]] = {}

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        """Exchanges a token for a certificate."""
        caller = principals.current()
        audit = recording.prepare(caller, "/Join", request)
        audit = replace(audit, principal=f"token:{request.token_id[:32]}")
        async with self._judged(audit):
            facts = request.facts.SerializeToString()
            if len(facts) > MAX_FACTS:
                raise GameNodeError(Code.LIMIT_EXCEEDED, f"the host's facts are {len(facts)} bytes long")
            claim = Claim(
                token_id=request.token_id,
                secret=request.token_secret,
                key=read_csr(request.csr_pem),
                node_id=make_id(secrets.token_bytes(ENTROPY_BYTES)),
                serial=new_serial(),
                not_after=self._wall() + self._life,
                name=request.name,
                hostname=request.facts.hostname,
                labels=dict(request.labels),
                facts=facts,
                source=caller.source,
            )
            joined = await self._store.apply(join(claim, self._cluster.issue, audit=audit))
        node = joined.node
        logger.info("node joined", extra={"node": node.name, "id": node.id, "again": joined.again})
        return pb.JoinResponse(
            node_id=node.id,
            name=node.name,
            certificate_pem=joined.certificate_pem,
            ca_pem=self._cluster.ca_pem.decode(),
            cluster_id=self._cluster.cluster_id,
            addresses=self._advertised().agents,
            ticket_public_key=self._cluster.ticket_public_key,
        )

    async def Recover(self, request: pb.RecoverRequest, context: Context) -> pb.RecoverResponse:
        """Gives a nonce, then a certificate for its signature by the node's key."""
        caller = principals.current()
        audit = replace(recording.prepare(caller, "/Recover", request), principal=f"node:{request.node_id[:32]}")
        async with self._judged(audit):
            node = self._store.view.node(request.node_id)
            refused = standing.refusal(node)
            if refused is not None:
                raise refused
            assert node is not None
            if not request.nonce:
                return pb.RecoverResponse(nonce=self._nonce(node.id))
            known, ends = self._nonces.pop(request.nonce, ("", 0.0))
            if known != node.id or ends < self._store.clock.now():
                raise GameNodeError(Code.UNAUTHENTICATED, "the nonce is not one of this server's, or has been used")
            if not proves_key(node.public_key, request.signature, request.nonce):
                raise GameNodeError(Code.UNAUTHENTICATED, f"this is not the key of node {node.name}")
            op = standing.issue(
                node.id,
                read_csr(request.csr_pem),
                self._cluster.issue,
                serial=new_serial(),
                wall=self._wall(),
                life=self._life,
                audit=audit,
            )
            certificate = await self._store.apply(op)
        return pb.RecoverResponse(certificate_pem=certificate, ca_pem=self._cluster.ca_pem.decode())

    async def WhyRefused(self, request: pb.WhyRefusedRequest, context: Context) -> pb.WhyRefusedResponse:
        """What speaks against a node's certificate."""
        self._patience(principals.current().source)
        verdict, error = await self._store.apply(
            standing.why_refused(request.node_id, request.certificate_serial, wall=self._wall())
        )
        return pb.WhyRefusedResponse(verdict=verdict, error=error_to_proto(error) if error else None)

    def _nonce(self, node_id: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._nonces[nonce] = (node_id, self._store.clock.now() + NONCE_LIFE)
        while len(self._nonces) > MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        return nonce

    def _patience(self, source: str) -> None:
        wait = self._throttle.wait(source, self._store.clock.now())
        if wait > 0:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"too many failed attempts from {source}; try again in {wait:.0f} s",
                details={"retry_after": f"{wait:.3f}"},
            )

    @asynccontextmanager
    async def _judged(self, audit: NewAudit) -> AsyncIterator[None]:
        self._patience(audit.source)
        try:
            yield
        except GameNodeError as error:
            self._throttle.failed(audit.source, self._store.clock.now())
            await recording.record_failure(self._store, audit, error)
            raise
