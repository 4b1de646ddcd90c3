"""The administration service: who the caller is, join tokens, users, the audit log. Only translates."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import grpc.aio

from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_proto.tokens import SECRET_BYTES, JoinToken
from gamenode_proto.v1 import administration_pb2 as pb
from gamenode_proto.v1.administration_pb2_grpc import AdministrationServicer
from gamenode_server.advertising import Advertised
from gamenode_server.audit import recording
from gamenode_server.audit.ledger import Ledger
from gamenode_server.identity import principals
from gamenode_server.identity.ca import Cluster, new_serial
from gamenode_server.identity.certificates import read_csr
from gamenode_server.identity.join_tokens import TokenWish, create_token
from gamenode_server.identity.users import UserWish, create_user, revoke_user
from gamenode_server.records import User
from gamenode_server.store import Store, queries
from gamenode_server.store.audit_chain import AuditRow

Context = grpc.aio.ServicerContext[Any, Any]

_NOBODY_LISTENS = "this server does not listen for operators yet: start it with --control-listen HOST:PORT"


class Administration(AdministrationServicer):
    """Serves `gamenode.v1.Administration`."""

    def __init__(
        self,
        store: Store,
        *,
        cluster: Cluster,
        ledger: Ledger,
        advertised: Callable[[], Advertised],
        control_listen: Callable[[], str],
        wall: Callable[[], float],
        version: str,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._ledger = ledger
        self._advertised = advertised
        self._control_listen = control_listen
        self._wall = wall
        self._version = version

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """Who the server takes the caller for."""
        principal = principals.current()
        return pb.WhoAmIResponse(
            principal=principal.name,
            role=principal.role or "",
            method="socket" if principal.kind == "local" else "certificate",
            server_version=self._version,
            cluster_id=self._cluster.cluster_id,
        )

    async def CreateJoinToken(self, request: pb.CreateJoinTokenRequest, context: Context) -> pb.CreateJoinTokenResponse:
        """Makes a token; its secret is in this answer only."""
        wish = TokenWish(
            ttl=request.ttl,
            uses=request.uses,
            name=request.name,
            labels=dict(request.labels),
            replace=request.replace,
        ).checked()
        secret = secrets.token_bytes(SECRET_BYTES)
        token_id = make_id(secrets.token_bytes(ENTROPY_BYTES))
        audit = recording.current(target=f"token {token_id}")
        by = principals.current().name
        stored = await self._store.apply(create_token(wish, token_id=token_id, secret=secret, by=by, audit=audit))
        where = self._advertised()
        text = JoinToken(tuple(where.join), token_id, secret, self._cluster.ca_pin, stored.expires_at).encode()
        return pb.CreateJoinTokenResponse(
            id=token_id,
            token=text,
            join_command=f"gamenode-agent join {text}",
            expires_at=stored.expires_at,
            uses=stored.uses_left,
            warnings=where.warnings,
        )

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        """Makes a user, and its certificate where it asks for one."""
        wish = UserWish(
            name=request.name,
            role=request.role,
            unix_user=request.unix_user,
            unix_group=request.unix_group,
            key=read_csr(request.csr_pem) if request.csr_pem else None,
            ttl=request.ttl,
        ).checked()
        created = await self._store.apply(
            create_user(
                wish,
                self._cluster.issue,
                serial=new_serial(),
                wall=self._wall(),
                by=principals.current().name,
                audit=recording.current(),
            )
        )
        unheard = wish.key is not None and not self._control_listen()
        return pb.CreateUserResponse(
            user=_user(created.user),
            certificate_pem=created.certificate_pem,
            ca_pem=self._cluster.ca_pem.decode(),
            cluster_id=self._cluster.cluster_id,
            warnings=[_NOBODY_LISTENS] if unheard else [],
        )

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        """Every user by name."""
        users = sorted(self._store.view.users.values(), key=lambda user: user.name)
        return pb.ListUsersResponse(users=map(_user, users))

    async def RevokeUser(self, request: pb.RevokeUserRequest, context: Context) -> pb.User:
        """Refuses a user from now on."""
        by = principals.current().name
        op = revoke_user(request.name, by=by, reason=request.reason, audit=recording.current())
        return _user(await self._store.apply(op))

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:
        """The newest rows, oldest of them first."""
        rows = await self._store.read(
            queries.list_audit, since=request.since, user=request.user, node=request.node, limit=request.limit
        )
        return pb.ListAuditResponse(records=[_record(row) for row in rows])

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        """Walks the chain and compares it with the checkpoints."""
        found = await self._ledger.verify()
        return pb.VerifyAuditResponse(
            intact=found.intact, records=found.records, broken_at=found.broken_at, problem=found.problem
        )


def _user(user: User) -> pb.User:
    return pb.User(
        name=user.name,
        role=user.role,
        unix_user=user.unix_user,
        unix_group=user.unix_group,
        certificate_serial=user.certificate_serial,
        created_at=user.created_at,
        created_by=user.created_by,
        expires_at=user.certificate_not_after,
        revoked_at=user.revoked_at,
        revoked_by=user.revoked_by,
    )


def _record(row: AuditRow) -> pb.AuditRecord:
    return pb.AuditRecord(
        seq=row.seq,
        time=row.time,
        principal=row.principal,
        method=row.method,
        target=row.target,
        outcome=row.outcome,
        request=row.request,
        source=row.source,
        mac=row.mac,
        reason=row.reason,
    )
