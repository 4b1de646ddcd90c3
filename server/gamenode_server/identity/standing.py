"""Whether a node's certificate still counts: judged from the store at every call, because TLS cannot be told.

A new certificate is *pending* until the node has used it: a reply that got lost leaves the old one in force. Once the
new one has been seen, the one before it can only be a copy, and shows that the node's folder was cloned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.states import NodeState
from gamenode_server.identity.certificates import PeerCertificate, PublicKey, Signs, serial_text, spki
from gamenode_server.records import NewAudit, NewEvent, Node
from gamenode_server.store.tx import Tx

#: After a certificate was taken into use, calls that are under way may still show the one before.
CHANGEOVER = 60.0
#: A certificate that ended no longer ago than this can be recovered with the node's key.
RECOVERABLE = 60 * 86400.0

Verdict = Literal["accepted", "revoked", "quarantined", "unknown_node", "certificate_expired"]


@dataclass(frozen=True, slots=True)
class Cloned:
    """The certificate is one that this node has replaced since: someone else has a copy of its folder."""

    node: Node


def refusal(node: Node | None) -> GameNodeError | None:
    """Why this node is not let in, whatever it shows; None where nothing speaks against it."""
    if node is None:
        return GameNodeError(
            Code.UNAUTHENTICATED, "this server does not know the node: it was removed; join again with a new token"
        )
    if node.state is NodeState.REVOKED:
        return GameNodeError(Code.REVOKED, f"node {node.name} has been revoked")
    if node.state is NodeState.QUARANTINED:
        return GameNodeError(
            Code.QUARANTINED,
            f"node {node.name} is quarantined, because two hosts used its identity: "
            f"make a token with `gamenode node token --replace {node.name}` and join the right one again",
        )
    return None


def is_current(node: Node, certificate: PeerCertificate, *, wall: float) -> bool:
    """Whether this is the certificate in force of a node that may come in: the common case, which changes nothing."""
    return certificate.serial == node.certificate_serial and wall < certificate.not_after and refusal(node) is None


def admit(certificate: PeerCertificate, *, wall: float) -> Callable[[Tx], Node | Cloned]:
    """The node that shows this certificate; takes a pending certificate into use.

    Raises GameNodeError: UNAUTHENTICATED (removed, expired, superseded), REVOKED, QUARANTINED.
    """

    def op(tx: Tx) -> Node | Cloned:
        node = tx.node(certificate.name)
        refused = refusal(node)
        if refused is not None:
            raise refused
        assert node is not None
        if wall >= certificate.not_after:
            raise GameNodeError(Code.UNAUTHENTICATED, f"the certificate of node {node.name} has expired")
        if certificate.serial == node.certificate_serial:
            return node
        pending = _pending(tx, node.id)
        if pending is not None and pending.serial == certificate.serial:
            return _take_into_use(tx, node, pending)
        if certificate.serial == node.previous_certificate_serial:
            if tx.now - float(tx.meta(_changed_key(node.id)) or 0) <= CHANGEOVER:
                return node
            return Cloned(node)
        raise GameNodeError(
            Code.UNAUTHENTICATED, f"this certificate of node {node.name} has been replaced by another host's or key's"
        )

    return op


def quarantine_clone(node_id: str, *, source: str, quarantine: Callable[[Tx], object]) -> Callable[[Tx], Node | None]:
    """Records that a replaced certificate was shown, from where, and shuts the node out. Returns it as it is then."""

    def op(tx: Tx) -> Node | None:
        node = tx.node(node_id)
        if node is None or node.state in (NodeState.QUARANTINED, NodeState.REVOKED):
            return node
        tx.audit(
            NewAudit(
                principal=f"node:{node.name}",
                method="Session",
                target=node.name,
                outcome=Code.QUARANTINED.value,
                request="",
                source=source,
                reason="a replaced certificate was used again: the node's folder was copied",
            )
        )
        quarantine(tx)
        return tx.node(node_id)

    return op


def issue(
    node_id: str,
    key: PublicKey,
    sign: Signs,
    *,
    serial: int,
    wall: float,
    life: float,
    audit: NewAudit,
    shown_serial: str = "",
) -> Callable[[Tx], str]:
    """A new certificate for a known node, pending until it is used. Returns its PEM.

    `shown_serial` is the certificate the node asked with; a recovering node shows none. Raises as `admit` does.
    """
    public_key = spki(key)
    not_after = float(int(wall + life))

    def op(tx: Tx) -> str:
        node = tx.node(node_id)
        refused = refusal(node)
        if refused is not None:
            raise refused
        assert node is not None
        if shown_serial and shown_serial != node.certificate_serial:
            raise GameNodeError(Code.STATE_CONFLICT, "only the newest certificate of a node can be renewed")
        if not shown_serial and wall > node.certificate_not_after + RECOVERABLE:
            raise GameNodeError(
                Code.UNAUTHENTICATED,
                f"the certificate of node {node.name} ended more than {RECOVERABLE / 86400:g} days ago: "
                f"make a token with `gamenode node token --replace {node.name}`",
            )
        pem = sign(key, name=node_id, serial=serial, not_after=not_after)
        pending = _Pending(serial_text(serial), not_after, public_key.hex())
        tx.put_meta(_pending_key(node_id), pending.text())
        tx.emit([NewEvent(type="node.certificate_issued", node_id=node_id, data={"serial": pending.serial})])
        tx.audit(replace(audit, target=node.name))
        return pem

    return op


def why_refused(node_id: str, serial: str, *, wall: float) -> Callable[[Tx], tuple[Verdict, Error | None]]:
    """Why a certificate of a node is refused on the agent port, where TLS says nothing."""

    def op(tx: Tx) -> tuple[Verdict, Error | None]:
        node = tx.node(node_id)
        refused = refusal(node)
        if refused is not None:
            verdicts: dict[Code, Verdict] = {Code.REVOKED: "revoked", Code.QUARANTINED: "quarantined"}
            return verdicts.get(refused.code, "unknown_node"), refused.error
        assert node is not None
        pending = _pending(tx, node_id)
        not_after = pending.not_after if pending and pending.serial == serial else node.certificate_not_after
        if wall >= not_after:
            return "certificate_expired", Error(
                Code.UNAUTHENTICATED, f"the certificate of node {node.name} has expired; its key can recover it"
            )
        return "accepted", None

    return op


# --- certificates that were issued and not yet seen -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pending:
    serial: str
    not_after: float
    public_key: str

    def text(self) -> str:
        return json.dumps([self.serial, self.not_after, self.public_key])


def _pending(tx: Tx, node_id: str) -> _Pending | None:
    text = tx.meta(_pending_key(node_id))
    return _Pending(*json.loads(text)) if text else None


def forget_pending(tx: Tx, node_id: str) -> None:
    """Drops a certificate that was issued and not yet used: another host has taken the node's place."""
    if tx.meta(_pending_key(node_id)):
        tx.put_meta(_pending_key(node_id), "")


def _take_into_use(tx: Tx, node: Node, pending: _Pending) -> Node:
    node = replace(
        node,
        public_key=bytes.fromhex(pending.public_key),
        previous_certificate_serial=node.certificate_serial,
        certificate_serial=pending.serial,
        certificate_not_after=pending.not_after,
    )
    tx.put_node(node)
    tx.put_meta(_pending_key(node.id), "")
    tx.put_meta(_changed_key(node.id), str(tx.now))
    tx.emit([NewEvent(type="node.certificate_renewed", node_id=node.id, data={"serial": pending.serial})])
    return node


def _pending_key(node_id: str) -> str:
    return f"certificate.pending.{node_id}"


def _changed_key(node_id: str) -> str:
    return f"certificate.changed.{node_id}"
