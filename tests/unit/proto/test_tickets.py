from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import tickets
from gamenode_proto.v1 import plan_pb2

KEY = Ed25519PrivateKey.generate()
TICKET = plan_pb2.Ticket(cluster_id="c", task_id="t", fence=3, node_id="n", bundle_digest="d", not_after=12.5)


def test_a_signed_ticket_is_read_back() -> None:
    signed = tickets.sign(KEY, TICKET.SerializeToString())
    assert tickets.verify(KEY.public_key(), signed) == TICKET
    assert tickets.verify(KEY.public_key().public_bytes_raw(), signed) == TICKET


@pytest.mark.parametrize("what", ["ticket", "signature", "key", "empty", "plain"])
def test_anything_changed_is_refused(what: str) -> None:
    signed = tickets.sign(KEY, TICKET.SerializeToString())
    key: object = KEY.public_key()
    match what:
        case "ticket":
            signed.ticket = signed.ticket.replace(b"\x03", b"\x04")
        case "signature":
            signed.signature = signed.signature[:-1] + bytes([signed.signature[-1] ^ 1])
        case "key":
            key = Ed25519PrivateKey.generate().public_key()
        case "empty":
            signed = plan_pb2.SignedTicket()
        case "plain":  # a signature over the same bytes that was made for something else
            signed.signature = KEY.sign(signed.ticket)
    with pytest.raises(GameNodeError) as caught:
        tickets.verify(key, signed)  # type: ignore[arg-type]
    assert caught.value.code is Code.INTEGRITY_FAILED
