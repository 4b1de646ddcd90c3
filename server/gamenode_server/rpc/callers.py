"""Finding out who calls, one way for each listener: a certificate, a login token, or nobody yet."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.transport import bearer_of
from gamenode_server.identity import standing, users
from gamenode_server.identity.certificates import Kind, PeerCertificate, read_peer
from gamenode_server.identity.login import LoginDesk
from gamenode_server.identity.principals import Principal, Role
from gamenode_server.records import Node
from gamenode_server.store import Store
from gamenode_server.store.tx import Tx

Context = grpc.aio.ServicerContext[Any, Any]


class Identifies(Protocol):
    """Says who makes a call, or raises GameNodeError."""

    async def __call__(self, context: Context) -> Principal:
        """The caller of the call behind `context`."""
        ...


def source_of(context: Context) -> str:
    """The peer's address without its port; `unix` for a local one."""
    kind, _, rest = context.peer().partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    return urllib.parse.unquote(rest).rpartition(":")[0].strip("[]")


async def nobody(context: Context) -> Principal:
    """Callers of the enrolment port, who are yet to become someone."""
    return Principal(name="anonymous", role=None, kind="anonymous", source=source_of(context))


class LocalCallers:
    """Callers on the Unix socket, by their login token."""

    def __init__(self, desk: LoginDesk) -> None:
        self._desk = desk

    async def __call__(self, context: Context) -> Principal:
        """The local user; UNAUTHENTICATED without a good token."""
        metadata = dict(context.invocation_metadata() or ())
        return self._desk.principal_of(bearer_of(metadata))


class UserCallers:
    """Callers on the operators' port, by their certificate and what the store says of its user now."""

    def __init__(self, store: Store, *, cluster_id: str, wall: Callable[[], float]) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._wall = wall

    async def __call__(self, context: Context) -> Principal:
        """The user; UNAUTHENTICATED or REVOKED where its certificate does not count."""
        certificate = _shown(context, "user", self._cluster_id)
        user = users.admit(self._store.view.users.get(certificate.name), certificate, wall=self._wall())
        return Principal(
            name=user.name,
            role=Role(user.role),
            kind="operator",
            serial=certificate.serial,
            source=source_of(context),
            not_after=certificate.not_after,
        )


class NodeCallers:
    """Callers on the agent port, by their certificate and what the store says of it now.

    `quarantine(node_id, reason)` makes the operation that shuts a node out.
    """

    def __init__(
        self,
        store: Store,
        *,
        cluster_id: str,
        wall: Callable[[], float],
        quarantine: Callable[[str, str], Callable[[Tx], object]],
    ) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._wall = wall
        self._quarantine = quarantine

    async def __call__(self, context: Context) -> Principal:
        """The node; UNAUTHENTICATED, REVOKED or QUARANTINED where its certificate does not count."""
        certificate = _shown(context, "node", self._cluster_id)
        source = source_of(context)
        found = await self._admit(certificate)
        if isinstance(found, standing.Cloned):
            reason = f"a replaced certificate came back from {source}: its folder was copied"
            op = standing.quarantine_clone(
                certificate.name, source=source, quarantine=self._quarantine(certificate.name, reason)
            )
            refused = standing.refusal(await self._store.apply(op))
            raise refused or GameNodeError(Code.INTERNAL, "a cloned node was not quarantined")
        return Principal(
            name=f"node:{found.name}",
            role=None,
            kind="node",
            node_id=found.id,
            serial=certificate.serial,
            source=source,
            not_after=certificate.not_after,
        )

    async def _admit(self, certificate: PeerCertificate) -> Node | standing.Cloned:
        wall = self._wall()
        node = self._store.view.node(certificate.name)
        if node is not None and standing.is_current(node, certificate, wall=wall):
            return node
        return await self._store.apply(standing.admit(certificate, wall=wall))


def _shown(context: Context, kind: Kind, cluster_id: str) -> PeerCertificate:
    """The certificate that TLS has verified, if it is of this kind."""
    pem = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    certificate = read_peer(pem) if pem else None
    if certificate is None or certificate.kind != kind or certificate.cluster_id != cluster_id:
        raise GameNodeError(Code.UNAUTHENTICATED, f"this call shows no certificate of a {kind} of this cluster")
    return certificate
