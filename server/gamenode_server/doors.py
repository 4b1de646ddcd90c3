"""Everything between a socket and a servicer, put together: listeners, who may come in, enrolment, administration.

Takes the services of the rest of the server and knows nothing of what they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gamenode_pipelines.errors import Code, Error
from gamenode_proto.process.places import SYSTEM_GROUP, SYSTEM_SOCKET, login_socket_path
from gamenode_proto.v1 import administration_pb2_grpc, enrolment_pb2_grpc
from gamenode_server.advertising import Advertised, advertised
from gamenode_server.audit.ledger import Ledger
from gamenode_server.config import ServerSettings
from gamenode_server.controller.effects import UserChanged
from gamenode_server.identity.ca import Cluster
from gamenode_server.identity.login import LoginDesk, SocketAccess, UnixRoles
from gamenode_server.identity.principals import Role, user_key
from gamenode_server.identity.users import unix_roles
from gamenode_server.place import Place
from gamenode_server.rpc.administration import Administration
from gamenode_server.rpc.callers import LocalCallers, NodeCallers, UserCallers, nobody
from gamenode_server.rpc.enrolment import Enrolment
from gamenode_server.rpc.interceptor import Doorman, LiveCalls
from gamenode_server.rpc.listeners import Audience, Bound, Listeners, Service
from gamenode_server.store import Store
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

#: How often the server's own certificate is looked at; it has ten days left when it is due.
LEAF_CHECK = 3600.0


class Doors:
    """The server's doors. `agents` and `operators` are the services of the rest of the server.

    `quarantine(node_id, reason)` makes the operation that shuts out a node whose identity was copied; `live` are the
    calls that are being served, for whoever has to end them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        store: Store,
        cluster: Cluster,
        place: Place,
        wall: Callable[[], float],
        version: str,
        agents: Sequence[Service],
        operators: Sequence[Service],
        quarantine: Callable[[str, str], Callable[[Tx], object]],
        live: LiveCalls,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._store = store
        self.live = live
        self._bound: Bound | None = None
        self.ledger = Ledger(store, key=cluster.audit_key, signer=cluster.ticket_key, checkpoints=place.checkpoints)
        # Whoever the system lets at the system socket may operate; the settings can say otherwise.
        self._configured_roles = UnixRoles.parse((f"@{SYSTEM_GROUP}={Role.OPERATOR}", *settings.unix_roles))
        self.desk = LoginDesk(roles=self._roles(), clock=store.clock)
        enrolment = Enrolment(
            store,
            cluster=cluster,
            wall=wall,
            certificate_life=settings.certificate_life,
            advertised=self.advertised,
        )
        administration = Administration(
            store,
            cluster=cluster,
            ledger=self.ledger,
            advertised=self.advertised,
            control_listen=self._control_listen,
            wall=wall,
            version=version,
        )
        management = [
            *operators,
            Service(
                "gamenode.v1.Administration",
                lambda server: administration_pb2_grpc.add_AdministrationServicer_to_server(administration, server),
            ),
        ]
        users = UserCallers(store, cluster_id=cluster.cluster_id, wall=wall)
        nodes = NodeCallers(store, cluster_id=cluster.cluster_id, wall=wall, quarantine=quarantine)
        self._listeners = Listeners(
            cluster=cluster,
            desk=self.desk,
            keepalive=settings.keepalive,
            agents=Audience(agents, Doorman(store, identify=nodes, live=live, wall=wall)),
            enrolment=Audience(
                [
                    Service(
                        "gamenode.v1.Enrolment",
                        lambda server: enrolment_pb2_grpc.add_EnrolmentServicer_to_server(enrolment, server),
                    )
                ],
                Doorman(store, identify=nobody, live=live, wall=wall),
            ),
            operators=Audience(management, Doorman(store, identify=LocalCallers(self.desk), live=live, wall=wall)),
            users=Audience(management, Doorman(store, identify=users, live=live, wall=wall)),
        )

    def advertised(self) -> Advertised:
        """The addresses of the running server, as tokens and agents get them."""
        assert self._bound is not None
        return advertised(self._bound.listen, self._bound.join_listen, self._settings.advertise)

    async def open(self, *, listen: str, join_listen: str, control_socket: Path, control_listen: str = "") -> Bound:
        """Binds the listeners and serves. Raises GameNodeError that names an address that cannot be had."""
        self._bound = await self._listeners.start(
            listen=listen,
            join_listen=join_listen,
            control_socket=control_socket,
            access=self._access(control_socket),
            control_listen=control_listen,
        )
        return self._bound

    def user_changed(self, change: UserChanged) -> None:
        """Ends the calls of a user that was shut out, and of local users who have another role by the change."""
        if change.error is not None:
            self.live.close(user_key(change.name), change.error)
        for source in self.desk.use(self._roles()):
            self.live.close(source, Error(Code.UNAUTHENTICATED, "what this user may do has changed; log in again"))
        if self._bound is not None:
            socket = self._bound.control_socket
            for path in (socket, login_socket_path(socket)):
                self._access(socket).apply(path)

    async def close(self) -> None:
        """Refuses new calls, ends those that run after a grace, frees the addresses, and marks the audit log."""
        await self._listeners.stop(grace=self._settings.stop_grace)
        await self.ledger.try_to_mark()

    def _roles(self) -> UnixRoles:
        return self._configured_roles.with_more(unix_roles(self._store.view.users.values()))

    def _access(self, control_socket: Path) -> SocketAccess:
        if self._settings.unix_roles or unix_roles(self._store.view.users.values()):
            return SocketAccess(mode=0o666)  # the login socket tells them apart
        return SocketAccess.for_group(SYSTEM_GROUP) if control_socket == SYSTEM_SOCKET else SocketAccess()

    def _control_listen(self) -> str:
        return self._bound.control_listen if self._bound is not None else ""

    async def run(self) -> None:
        """What the doors do while they are open: renews the server's certificate, marks the audit log."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ledger.keep_marking(self._settings.audit_checkpoint))
            group.create_task(self._renew_leaf())

    async def _renew_leaf(self) -> None:
        while True:
            await asyncio.sleep(LEAF_CHECK)
            try:
                if await asyncio.to_thread(self._cluster.renew_leaf):
                    logger.info("the server has a new certificate")
            except OSError as error:
                logger.warning("the server's certificate could not be renewed: %s", error)
