"""The calls of the administration interface: who may come in, and who did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gamenode_console.gateway.link import Link
from gamenode_proto.v1 import administration_pb2 as messages
from gamenode_proto.v1.administration_pb2_grpc import AdministrationStub

if TYPE_CHECKING:
    from gamenode_proto.v1.administration_pb2_grpc import AdministrationAsyncStub


class AdministrationCalls:
    """Identity, join tokens, users and the audit log."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub: AdministrationAsyncStub = AdministrationStub(link.channel)

    async def who_am_i(self, *, patient: bool = True) -> messages.WhoAmIResponse:
        """Who the server takes the caller for; `patient` calls wait a little for a server that is away."""
        return await self._link.call(self._stub.WhoAmI, messages.WhoAmIRequest(), repeatable=patient)

    async def create_join_token(
        self,
        *,
        ttl: float = 0.0,
        uses: int = 0,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        replace: str = "",
    ) -> messages.CreateJoinTokenResponse:
        """A new join token; 0 leaves lifetime (seconds) and uses to the server."""
        request = messages.CreateJoinTokenRequest(ttl=ttl, uses=uses, name=name, labels=labels or {}, replace=replace)
        return await self._link.call(self._stub.CreateJoinToken, request)

    async def create_user(self, request: messages.CreateUserRequest) -> messages.CreateUserResponse:
        """A new user, with its certificate where the request asks for one."""
        return await self._link.call(self._stub.CreateUser, request)

    async def list_users(self) -> Sequence[messages.User]:
        """Every user by name, also revoked ones."""
        return (await self._link.call(self._stub.ListUsers, messages.ListUsersRequest(), repeatable=True)).users

    async def revoke_user(self, name: str, *, reason: str = "") -> messages.User:
        """Refuses a user from now on; the user as it is then."""
        request = messages.RevokeUserRequest(name=name, reason=reason)
        return await self._link.call(self._stub.RevokeUser, request, repeatable=True)

    async def list_audit(
        self, *, since: float = 0.0, user: str = "", node: str = "", limit: int = 0
    ) -> Sequence[messages.AuditRecord]:
        """Audit records, newest last."""
        request = messages.ListAuditRequest(since=since, user=user, node=node, limit=limit)
        return (await self._link.call(self._stub.ListAudit, request, repeatable=True)).records

    async def verify_audit(self) -> messages.VerifyAuditResponse:
        """Walks the whole chain; may take its time."""
        request = messages.VerifyAuditRequest()
        return await self._link.call(self._stub.VerifyAudit, request, repeatable=True, deadline=600.0)
