"""The server's doors on real sockets, with the smallest services behind them, and clients that knock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gamenode_pipelines.states import NodeState
from gamenode_proto import transport
from gamenode_proto.login import fetch_login
from gamenode_proto.tokens import JoinToken
from gamenode_proto.v1 import (
    administration_pb2,
    administration_pb2_grpc,
    agent_link_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    nodes_pb2,
)
from gamenode_proto.v1 import agent_link_pb2 as link_pb
from gamenode_server.audit.verify import Verification
from gamenode_server.config import ServerSettings
from gamenode_server.controller.effects import CloseSession, UserChanged
from gamenode_server.doors import Doors
from gamenode_server.hub import Hub
from gamenode_server.identity import certificates, principals
from gamenode_server.identity.ca import Cluster, new_serial, open_cluster
from gamenode_server.identity.renewals import Renewals
from gamenode_server.place import Place
from gamenode_server.records import NewEvent
from gamenode_server.rpc.interceptor import LiveCalls
from gamenode_server.rpc.listeners import Bound, Service
from gamenode_server.store import Store, open_store, queries
from gamenode_server.store.audit_chain import AuditRow
from gamenode_server.store.tx import Tx

#: What a node shows: certificate and key, PEM.
Shown = tuple[bytes, bytes]


class EchoLink(agent_link_pb2_grpc.AgentLinkServicer):
    """Says who it takes the caller for, answers every frame, and renews certificates."""

    def __init__(self, renewals: Renewals) -> None:
        self._renewals = renewals

    async def Session(self, frames: AsyncIterator[link_pb.AgentFrame], context: Any) -> AsyncIterator[Any]:
        caller = principals.current()
        yield link_pb.ServerFrame(welcome=link_pb.Welcome(session_id=f"{caller.name} {caller.node_id}"))
        async for frame in frames:
            yield link_pb.ServerFrame(ack=link_pb.Ack(acked=frame.heartbeat.seq))

    async def RenewCertificate(self, request: Any, context: Any) -> link_pb.RenewCertificateResponse:
        certificate, ca = await self._renewals.renew(request.csr_pem)
        return link_pb.RenewCertificateResponse(certificate_pem=certificate, ca_pem=ca)


class WallClock:
    """A wall clock that tests can move."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class House:
    """A server that is nothing but doors."""

    store: Store
    cluster: Cluster
    doors: Doors
    bound: Bound
    live: LiveCalls
    wall: WallClock
    place: Place
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def agent_channel(
        self, shown: Shown | None, *, ca_pem: bytes | None = None, port: str | None = None
    ) -> grpc.aio.Channel:
        """A channel to the agent port, or another one, with a connection of its own."""
        certificate, key = shown or (None, None)
        channel = transport.open_tls_channel(
            port or self.bound.listen,
            ca_pem=ca_pem or self.cluster.ca_pem,
            certificate_pem=certificate,
            key_pem=key,
            own_connection=True,
        )
        self.channels.append(channel)
        return channel

    def agents(self, shown: Shown | None) -> Any:
        """The agents' service, as whoever shows this."""
        return agent_link_pb2_grpc.AgentLinkStub(self.agent_channel(shown))

    def enrolment(self) -> Any:
        """The enrolment service."""
        channel = transport.open_tls_channel(self.bound.join_listen, ca_pem=self.cluster.ca_pem)
        self.channels.append(channel)
        return enrolment_pb2_grpc.EnrolmentStub(channel)

    def control_channel(self) -> grpc.aio.Channel:
        """A channel to the control socket, without a login."""
        channel = transport.open_unix_channel(str(self.bound.control_socket))
        self.channels.append(channel)
        return channel

    def operator_channel(self, shown: Shown | None, *, ca_pem: bytes | None = None) -> grpc.aio.Channel:
        """A channel to the operators' port, with a connection of its own."""
        return self.agent_channel(shown, ca_pem=ca_pem, port=self.bound.control_listen)

    def operator(self, shown: Shown | None) -> Any:
        """The administration service, as whoever shows this on the operators' port."""
        return administration_pb2_grpc.AdministrationStub(self.operator_channel(shown))

    async def user(self, name: str, role: str = "viewer", **wish: Any) -> Shown:
        """A new user's certificate and key."""
        host = Host()
        stub, metadata = await self.administration()
        request = administration_pb2.CreateUserRequest(name=name, role=role, csr_pem=host.csr, **wish)
        return (await stub.CreateUser(request, metadata=metadata)).certificate_pem.encode(), host.key_pem

    async def administration(self) -> tuple[Any, Any]:
        """The administration service, and the metadata of this user's login."""
        login = await fetch_login(self.bound.control_socket)
        return (
            administration_pb2_grpc.AdministrationStub(self.control_channel()),
            transport.bearer(login.token),
        )

    async def token(self, **wish: Any) -> JoinToken:
        """A new join token."""
        stub, metadata = await self.administration()
        request = administration_pb2.CreateJoinTokenRequest(**wish)
        return JoinToken.decode((await stub.CreateJoinToken(request, metadata=metadata)).token)

    async def join(self, name: str, **request: Any) -> Joined:
        """A joined node."""
        host = Host()
        answer = await self.enrolment().Join(host.request(await self.token(), name=name, **request))
        return Joined(answer.node_id, answer.name, (answer.certificate_pem.encode(), host.key_pem), host)

    async def audit(self) -> Sequence[AuditRow]:
        """Every audit row."""
        return await self.store.read(queries.list_audit)

    async def verify(self) -> Verification:
        """What a walk of the audit log finds."""
        return await self.doors.ledger.verify()

    async def event_types(self) -> list[str]:
        """The types of every event."""
        return [event.type for event in (await self.store.read(queries.list_events)).events]


@dataclass
class Joined:
    """A node as its host knows it."""

    node_id: str
    name: str
    shown: Shown
    host: Host


class Host:
    """A host with a key."""

    def __init__(self) -> None:
        self.key = certificates.new_key()
        self.key_pem = private_pem(self.key)

    @property
    def csr(self) -> str:
        """A request for a certificate, with a subject nobody should believe."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root of all evil")])
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def request(self, token: JoinToken, **fields: Any) -> enrolment_pb2.JoinRequest:
        """What the host sends to join."""
        filled = {
            "token_id": token.token_id,
            "token_secret": token.secret,
            "csr_pem": self.csr,
            "facts": nodes_pb2.HostFacts(hostname="Host.Example"),
            **fields,
        }
        return enrolment_pb2.JoinRequest(**filled)

    def prove(self, nonce: bytes) -> bytes:
        """The host's signature."""
        return self.key.sign(nonce, ec.ECDSA(hashes.SHA256()))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def client_certificate(cluster: Cluster, *, kind: Any = "node", name: str = "nobody", life: float = 1000.0) -> Shown:
    """A client certificate straight from a cluster's issuer."""
    key = certificates.new_key()
    pem = cluster.issue(key.public_key(), kind=kind, name=name, serial=new_serial(), not_after=time.time() + life)
    return pem.encode(), private_pem(key)


def make_cluster(folder: Path) -> Cluster:
    """A cluster's keys."""
    return open_cluster(folder, wall=time.time, may_create=True)


def quarantine(node_id: str, reason: str) -> Callable[[Tx], object]:
    """The smallest operation that shuts a node out."""

    def op(tx: Tx) -> None:
        node = tx.node(node_id)
        assert node is not None
        tx.put_node(replace(node, state=NodeState.QUARANTINED))
        tx.emit([NewEvent(type="node.quarantined", node_id=node_id, data={"reason": reason})])

    return op


def set_state(node_id: str, state: NodeState) -> Callable[[Tx], None]:
    """Puts a node into a state."""

    def op(tx: Tx) -> None:
        node = tx.node(node_id)
        assert node is not None
        tx.put_node(replace(node, state=state))

    return op


@asynccontextmanager
async def open_house(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """Doors on loopback, in a data dir of their own."""
    fields = {"listen": "127.0.0.1:0", "join_listen": "127.0.0.1:0", "stop_grace": 0.001, **settings}
    configured = ServerSettings(data_dir=folder, **fields)
    place = Place(folder)
    live = LiveCalls()
    wall = WallClock()

    def carry_out(effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, CloseSession):
                live.close(effect.node_id, effect.error)
            elif isinstance(effect, UserChanged):
                house.doors.user_changed(effect)

    with place.take():
        cluster = open_cluster(place.identity, wall=wall, may_create=True)
        store = open_store(place.database, hub=Hub(), on_effects=carry_out, audit_key=cluster.audit_key)
        renewals = Renewals(store, cluster=cluster, wall=wall, life=configured.certificate_life)
        link = EchoLink(renewals)  # type: ignore[abstract] # nobody fetches anything here
        doors = Doors(
            configured,
            store=store,
            cluster=cluster,
            place=place,
            wall=wall,
            version="test",
            agents=[
                Service("gamenode.v1.AgentLink", lambda s: agent_link_pb2_grpc.add_AgentLinkServicer_to_server(link, s))
            ],
            operators=[],
            quarantine=quarantine,
            live=live,
        )
        try:
            async with asyncio.timeout(60):
                bound = await doors.open(
                    listen=configured.listen,
                    join_listen=configured.join_listen,
                    control_socket=folder / "control.sock",
                    control_listen=configured.control_listen,
                )
                house = House(store, cluster, doors, bound, live, wall, place)
                try:
                    yield house
                finally:
                    for channel in house.channels:
                        await channel.close()
                    await doors.close()
        finally:
            await store.close()
