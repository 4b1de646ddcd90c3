"""The listening sockets: one gRPC server object for each audience, because one serves all it has on all its ports.

agents       mTLS, trusts the nodes' issuer only        AgentLink
enrolment    server-authenticated TLS                   Enrolment
operators    Unix socket with a login socket beside it  the management services, reflection
users        mTLS, trusts the operators' issuer only    the same, where it was asked for

All have health. Whoever owns this holds the lock of the data dir: on a Unix socket a second server would take the path
in silence.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.process.places import login_socket_path, prepare_socket_dir
from gamenode_proto.transport import Keepalive
from gamenode_server.identity.ca import Cluster
from gamenode_server.identity.login import LoginDesk, SocketAccess

logger = logging.getLogger(__name__)

#: Calls of one operator's connection: a console watches a lot at once.
OPERATOR_STREAMS = 256
#: Calls of one agent's connection: session, or logs, and a few fetches.
AGENT_STREAMS = 32
ENROLMENT_STREAMS = 4

#: Adds a servicer to a server, e.g. `lambda s: add_AgentLinkServicer_to_server(servicer, s)`.
AddService = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class Service:
    """A service of one listener: its full name, and what adds it to a server."""

    name: str
    add: AddService


@dataclass(frozen=True, slots=True)
class Audience:
    """What one listener serves, and who stands before it."""

    services: Sequence[Service]
    doorman: grpc.aio.ServerInterceptor


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the server can be reached, with real port numbers."""

    listen: str
    join_listen: str
    control_socket: Path
    #: Empty where operators come over the socket only.
    control_listen: str = ""


class Listeners:
    """The servers. For one loop; `start` and `stop` once each."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        desk: LoginDesk,
        agents: Audience,
        enrolment: Audience,
        operators: Audience,
        users: Audience,
        keepalive: Keepalive | None = None,
    ) -> None:
        self._cluster = cluster
        self._desk = desk
        self._agents = agents
        self._enrolment = enrolment
        self._operators = operators
        self._users = users
        self._keepalive = keepalive or Keepalive()
        self._servers: list[grpc.aio.Server] = []
        self._health: list[tuple[health.aio.HealthServicer, Audience]] = []

    async def start(
        self, *, listen: str, join_listen: str, control_socket: Path, access: SocketAccess, control_listen: str = ""
    ) -> Bound:
        """Binds everything, then serves. Raises GameNodeError that names an address that is taken or not ours."""
        keepalive = self._keepalive
        agents = self._server(
            self._agents,
            transport.server_options(keepalive, max_message=transport.AGENT_MESSAGE, max_streams=AGENT_STREAMS),
        )
        enrolment = self._server(
            self._enrolment,
            transport.server_options(keepalive, max_message=transport.ENROLMENT_MESSAGE, max_streams=ENROLMENT_STREAMS),
        )
        operators = self._management(self._operators)
        users = self._management(self._users) if control_listen else None
        nodes_issuer, users_issuer = self._cluster.nodes.pem, self._cluster.operators.pem
        try:
            bound = Bound(
                listen=_bind_tls(agents, listen, self._credentials(trusts=nodes_issuer), "--listen"),
                join_listen=_bind_tls(enrolment, join_listen, self._credentials(), "--join-listen"),
                control_socket=control_socket,
                control_listen=_bind_tls(
                    users, control_listen, self._credentials(trusts=users_issuer), "--control-listen"
                )
                if users is not None
                else "",
            )
            prepare_socket_dir(control_socket)
            _bind_unix(operators, control_socket, access)
            await self._desk.start(login_socket_path(control_socket), access=access)
            for server in self._servers:
                await server.start()
        except BaseException:
            await self.stop(grace=0)
            raise
        for servicer, audience in self._health:
            for service in audience.services:
                await servicer.set(service.name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    async def stop(self, *, grace: float) -> None:
        """Refuses new calls, gives those that run `grace` seconds, and frees the addresses."""
        for servicer, _ in self._health:
            await servicer.enter_graceful_shutdown()
        await self._desk.stop()
        await asyncio.gather(*(server.stop(grace) for server in self._servers))
        self._servers.clear()

    def _server(self, audience: Audience, options: Sequence[transport.Option]) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[audience.doorman], options=options)
        self._servers.append(server)
        for service in audience.services:
            service.add(server)
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        self._health.append((servicer, audience))
        return server

    def _management(self, audience: Audience) -> grpc.aio.Server:
        server = self._server(
            audience,
            transport.server_options(
                self._keepalive, max_message=transport.CONTROL_MESSAGE, max_streams=OPERATOR_STREAMS
            ),
        )
        names = [service.name for service in audience.services]
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        return server

    def _credentials(self, *, trusts: bytes | None = None) -> grpc.ServerCredentials:
        """The server's leaf; where `trusts` is given, only clients with a certificate of that issuer come in."""
        shown = self._cluster.leaf

        def configuration() -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(shown.key_pem, shown.chain_pem)], root_certificates=trusts
            )

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            # On a thread of gRPC's, for every connection: looks, and does nothing else unless the leaf is a new one.
            nonlocal shown
            if self._cluster.leaf is shown:
                return None
            shown = self._cluster.leaf
            return configuration()

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            fetch,  # type: ignore[arg-type] # None is how it says "as before"
            require_client_authentication=trusts is not None,
        )


def _bind_tls(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials, flag: str) -> str:
    try:
        host, port = transport.split_address(address)
    except ValueError as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{flag}: {error}") from None
    _check_free(host, port, flag)
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _cannot_listen(flag, address, str(error)) from error
    if not bound:
        raise _cannot_listen(flag, address, "the address cannot be bound")
    return transport.join_address(host, bound)


def _check_free(host: str, port: int, flag: str) -> None:
    """gRPC says only that it failed; the system says why."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(flag, transport.join_address(host, port), error.strerror or str(error)) from error
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise _cannot_listen(flag, transport.join_address(host, port), why) from error


def _bind_unix(server: grpc.aio.Server, path: Path, access: SocketAccess) -> None:
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise _cannot_listen("the control socket", str(path), str(error)) from error
    finally:
        os.umask(before)
    access.apply(path)


def _cannot_listen(flag: str, address: str, why: str) -> GameNodeError:
    return GameNodeError(Code.STATE_CONFLICT, f"{flag}: cannot listen on {address}: {why}")
