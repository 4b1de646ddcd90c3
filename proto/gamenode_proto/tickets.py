"""Tickets: the server's signed word that a node may run one bundle as one assignment.

The signature is over the ticket's exact bytes, which travel beside it and are never serialized again.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import plan_pb2

#: So that a signature over something else can never be taken for one over a ticket.
_CONTEXT = b"gamenode.v1.Ticket\0"


def sign(key: Ed25519PrivateKey, ticket_bytes: bytes) -> plan_pb2.SignedTicket:
    """Signs the bytes of a serialized Ticket."""
    return plan_pb2.SignedTicket(ticket=ticket_bytes, signature=key.sign(_CONTEXT + ticket_bytes))


def verify(public_key: Ed25519PublicKey | bytes, signed: plan_pb2.SignedTicket) -> plan_pb2.Ticket:
    """The ticket, if the signature is the server's. A raw public key of 32 bytes will do.

    Raises GameNodeError(INTEGRITY_FAILED). Says nothing of node, digest or time: they are the caller's to compare.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key) if isinstance(public_key, bytes) else public_key
        key.verify(signed.signature, _CONTEXT + signed.ticket)
        return plan_pb2.Ticket.FromString(signed.ticket)
    except (InvalidSignature, ValueError, DecodeError) as error:
        raise GameNodeError(
            Code.INTEGRITY_FAILED, "the ticket of this assignment does not carry the server's signature"
        ) from error
