"""A host becomes a node: the token is used, node row, audit row and event are written, all in one operation.

A reply that got lost can be asked for again: for ten minutes the same token with the same key gets the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.selectors import validate_label
from gamenode_pipelines.states import NodeState
from gamenode_server.controller.effects import CloseSession
from gamenode_server.identity.certificates import PublicKey, Signs, serial_text, spki
from gamenode_server.identity.names import check_name, name_from_host, numbered
from gamenode_server.identity.standing import forget_pending
from gamenode_server.records import JoinToken, NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx

#: Seconds in which a lost reply can be asked for again.
RETRY_WINDOW = 600.0
MAX_LABELS = 64
#: Hosts of one name that get a number.
_MAX_NAMESAKES = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """What a host asks for with a token. `serial` and `node_id` are drawn for it by the caller."""

    token_id: str
    secret: bytes = field(repr=False)
    key: PublicKey
    node_id: str
    serial: int
    #: When its certificate shall end, by the wall clock.
    not_after: float
    name: str
    hostname: str
    labels: Mapping[str, str]
    facts: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A node with its certificate; `again` where it had been answered before."""

    node: Node
    certificate_pem: str
    again: bool


def join(claim: Claim, sign: Signs, *, audit: NewAudit) -> Callable[[Tx], Joined]:
    """Uses the token. `audit` is completed with the node's name.

    Raises GameNodeError, each with its own words: UNAUTHENTICATED for a token that is unknown, wrong, expired or used
    up, ALREADY_EXISTS for a name that is taken, INVALID_ARGUMENT for a bad name or label.
    """
    key = spki(claim.key)
    key_sha256 = hashlib.sha256(key).hexdigest()

    def op(tx: Tx) -> Joined:
        token = _token(tx, claim)
        if key_sha256 in token.joined:
            node = _answered(tx, token, key_sha256, key)
            pem = sign(
                claim.key, name=node.id, serial=int(node.certificate_serial, 16), not_after=node.certificate_not_after
            )
            tx.audit(replace(audit, target=node.name, reason="asked again for a lost reply"))
            return Joined(node, pem, again=True)
        if tx.now >= token.expires_at:
            raise _refused("the join token has expired: make a new one with `gamenode node token`")
        if token.uses_left < 1:
            raise _refused("the join token has been used up: make a new one with `gamenode node token`")
        node = _replaced(tx, token, claim) if token.replace else _new(tx, token, claim)
        node = replace(
            node,
            facts=claim.facts,
            address=claim.source,
            public_key=key,
            certificate_serial=serial_text(claim.serial),
            previous_certificate_serial="",
            certificate_not_after=float(int(claim.not_after)),
        )
        pem = sign(claim.key, name=node.id, serial=claim.serial, not_after=node.certificate_not_after)
        tx.put_node(node)
        tx.put_token(replace(token, uses_left=token.uses_left - 1, joined={**dict(token.joined), key_sha256: node.id}))
        what = "node.replaced" if token.replace else "node.joined"
        data = {"name": node.name, "address": claim.source, "token": token.id}
        tx.emit([NewEvent(type=what, node_id=node.id, actor=f"token:{token.id}", data=data)])
        tx.audit(replace(audit, target=node.name))
        return Joined(node, pem, again=False)

    return op


def _token(tx: Tx, claim: Claim) -> JoinToken:
    token = tx.token(claim.token_id)
    if token is None:
        raise _refused("this server does not know the join token: it is another cluster's, or was removed")
    if not hmac.compare_digest(token.secret_sha256, hashlib.sha256(claim.secret).digest()):
        raise _refused("the join token's secret is wrong: copy the token again, whole")
    return token


def _answered(tx: Tx, token: JoinToken, key_sha256: str, key: bytes) -> Node:
    node = tx.node(token.joined[key_sha256])
    if node is None:
        raise _refused("the node that joined with this token has been removed: make a new token")
    if tx.now - node.joined_at > RETRY_WINDOW or node.public_key != key:
        raise _refused(
            f"the join token was used by this host more than {RETRY_WINDOW / 60:g} minutes ago: make a new one"
        )
    return node


def _new(tx: Tx, token: JoinToken, claim: Claim) -> Node:
    if token.name and claim.name and claim.name != token.name:
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"the join token is for the name {token.name}, not for {claim.name[:80]!r}"
        )
    labels = {**dict(claim.labels), **dict(token.labels)}
    if len(labels) > MAX_LABELS:
        raise GameNodeError(Code.LIMIT_EXCEEDED, f"a node can have {MAX_LABELS} labels, not {len(labels)}")
    for label, value in labels.items():
        validate_label(label, value)
    return Node(id=claim.node_id, name=_name(tx, token, claim), labels=labels, joined_at=tx.now)


def _name(tx: Tx, token: JoinToken, claim: Claim) -> str:
    wanted = token.name or claim.name
    if wanted:
        check_name(wanted)
        taken = tx.node_named(wanted)
        if taken is not None:
            raise GameNodeError(
                Code.ALREADY_EXISTS,
                f"a node {wanted} exists already: choose another with --name, or make a token with --replace {wanted}",
            )
        return wanted
    base = name_from_host(claim.hostname) or "node"
    for number in range(1, _MAX_NAMESAKES):
        name = numbered(base, number)
        if tx.node_named(name) is None:
            return name
    raise GameNodeError(Code.ALREADY_EXISTS, f"too many nodes are called {base}: choose a name with --name")


def _replaced(tx: Tx, token: JoinToken, claim: Claim) -> Node:
    """The node whose place the new host takes: its id, name, labels and history; nothing of the old host's session."""
    node = tx.node(token.replace)
    if node is None:
        raise _refused("the node that this token replaces has been removed: make a new token")
    tx.effect(CloseSession(node.id, Error(Code.SUPERSEDED, f"another host has taken the place of {node.name}")))
    forget_pending(tx, node.id)
    state = NodeState.NEVER_CONNECTED if node.state is NodeState.NEVER_CONNECTED else NodeState.OFFLINE
    return replace(node, state=state, joined_at=tx.now, labels={**dict(node.labels), **dict(token.labels)})


def _refused(message: str) -> GameNodeError:
    return GameNodeError(Code.UNAUTHENTICATED, message)
