"""Who is calling: found out once by the interceptor, read by whoever carries out the call."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gamenode_pipelines.errors import Code, GameNodeError

CallerKind = Literal["local", "operator", "node", "anonymous"]


class Role(StrEnum):
    """What an operator may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role is enough where `needed` is."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `role` is an operator's, None for nodes and for whoever is about to join."""

    #: As audit rows and `created_by` show it: a user's name, `node:NAME`, `anonymous`.
    name: str
    role: Role | None
    kind: CallerKind
    #: The node that calls; empty for others.
    node_id: str = ""
    #: Serial number (hex) of the certificate it showed; empty on the socket.
    serial: str = ""
    #: Where the call comes from: `unix:uid=1000` or the peer's address without its port.
    source: str = ""
    #: When its certificate ends, Unix seconds of the wall clock; 0 for never.
    not_after: float = 0.0

    @property
    def key(self) -> str:
        """What all calls of this caller have in common: the node's id, or where the operator comes from."""
        return self.node_id or (user_key(self.name) if self.kind == "operator" else self.source)


def user_key(name: str) -> str:
    """The `key` of a user with a certificate."""
    return f"user:{name}"


_current: ContextVar[Principal] = ContextVar("principal")


def current() -> Principal:
    """The caller of this call. Only inside one; on the event loop, not on the writer's thread."""
    try:
        return _current.get()
    except LookupError:
        raise GameNodeError(Code.INTERNAL, "no call is being served here") from None


def enter(principal: Principal) -> None:
    """Makes `principal` the caller for the rest of this call's task. For the interceptor, and for tests."""
    _current.set(principal)
