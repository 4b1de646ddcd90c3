"""Making join tokens. The secret leaves in the answer and nowhere else; what is stored is its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.selectors import validate_label
from gamenode_server.identity.names import check_name
from gamenode_server.records import JoinToken, NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx

DEFAULT_TTL = 3600.0
MAX_TTL = 30 * 86400.0
MAX_USES = 10_000


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a token shall allow. `ttl` in seconds; 0 and 0 uses mean the defaults, an hour and one."""

    ttl: float = 0.0
    uses: int = 0
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    replace: str = ""

    def checked(self) -> TokenWish:
        """The same with defaults filled in. Raises GameNodeError(INVALID_ARGUMENT) for what cannot be."""
        ttl, uses = self.ttl or DEFAULT_TTL, self.uses or 1
        if not 0 < ttl <= MAX_TTL:
            raise _bad(
                f"a token lives at most {MAX_TTL / 86400:g} days and more than no time, not {format_duration(ttl)}"
            )
        if not 1 <= uses <= MAX_USES:
            raise _bad(f"a token can be used 1 to {MAX_USES} times, not {uses}")
        if self.name:
            check_name(self.name)
        if uses > 1 and (self.name or self.replace):
            raise _bad("a token that names one node can be used once only")
        if self.name and self.replace:
            raise _bad("a replaced node keeps its name: give a name or a node to replace")
        for key, value in self.labels.items():
            validate_label(key, value)
        return TokenWish(ttl, uses, self.name, self.labels, self.replace)


def create_token(
    wish: TokenWish, *, token_id: str, secret: bytes, by: str, audit: NewAudit
) -> Callable[[Tx], JoinToken]:
    """Stores a checked wish as a token.

    ALREADY_EXISTS where the name is taken, NOT_FOUND where the node to replace is not known.
    """
    secret_sha256 = hashlib.sha256(secret).digest()

    def op(tx: Tx) -> JoinToken:
        replace = ""
        if wish.replace:
            replace = find_node(tx, wish.replace).id
        elif wish.name and (taken := tx.node_named(wish.name)) is not None:
            raise GameNodeError(
                Code.ALREADY_EXISTS,
                f"a node {wish.name} exists already (id {taken.id}): "
                f"use another name, or `gamenode node token --replace {wish.name}` for a new host in its place",
            )
        token = JoinToken(
            id=token_id,
            secret_sha256=secret_sha256,
            expires_at=tx.now + wish.ttl,
            uses_left=wish.uses,
            created_by=by,
            created_at=tx.now,
            name=wish.name,
            labels=dict(wish.labels),
            replace=replace,
        )
        tx.put_token(token)
        tx.emit([NewEvent(type="token.created", actor=by, node_id=replace, data={"token": token_id})])
        tx.audit(audit)
        return token

    return op


def find_node(tx: Tx, name: str) -> Node:
    """A node by its id or name. Raises GameNodeError(NOT_FOUND)."""
    node = tx.node(name) or tx.node_named(name)
    if node is None:
        raise GameNodeError(Code.NOT_FOUND, f"no node {name}")
    return node


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, message)
