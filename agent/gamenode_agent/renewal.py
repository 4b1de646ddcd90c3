"""Keeping the node's certificate good: when to renew it, how to come back after it has ended, and asking why not.

Every call is made by the caller's loop, which owns the channels.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from gamenode_agent.identity import Identity
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.errors import from_rpc
from gamenode_proto.v1.agent_link_pb2 import RenewCertificateRequest
from gamenode_proto.v1.enrolment_pb2 import RecoverRequest, RecoverResponse, WhyRefusedRequest, WhyRefusedResponse
from gamenode_proto.v1.enrolment_pb2_grpc import EnrolmentStub

if TYPE_CHECKING:
    from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkAsyncStub
    from gamenode_proto.v1.enrolment_pb2_grpc import EnrolmentAsyncStub

logger = logging.getLogger(__name__)

R = TypeVar("R")

CALL_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the server refuses this node: a word, and a sentence where it has one."""

    word: str
    message: str


def renewal_due(lifetime: tuple[float, float], jitter: float) -> float:
    """When to renew a certificate that is good from and to these times: with a third of its life left, give or take a
    tenth of that by `jitter` (from [0, 1)). Unix seconds.
    """
    begins, ends = lifetime
    third = (ends - begins) / 3
    return ends - third * (0.9 + 0.2 * jitter)


async def renew(stub: AgentLinkAsyncStub, identity: Identity) -> Identity:
    """A new key and certificate, over the connection that the present one opened. Raises GameNodeError."""
    from gamenode_agent.keys import new_key, signing_request

    key_pem = new_key()
    request = RenewCertificateRequest(csr_pem=signing_request(key_pem, name=identity.name))
    try:
        response = await stub.RenewCertificate(request, timeout=CALL_TIMEOUT)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    return identity.renewed(key_pem=key_pem, certificate_pem=response.certificate_pem, ca_pem=response.ca_pem)


async def recover(identity: Identity) -> Identity:
    """A certificate for a node whose own has ended: proves its key to the enrolment listener. Raises GameNodeError."""
    from gamenode_agent.keys import new_key, sign_nonce, signing_request

    key_pem = new_key()

    async def exchange(stub: EnrolmentAsyncStub) -> RecoverResponse:
        asked = await stub.Recover(RecoverRequest(node_id=identity.node_id), timeout=CALL_TIMEOUT)
        proof = RecoverRequest(
            node_id=identity.node_id,
            nonce=asked.nonce,
            signature=sign_nonce(identity.key_pem, asked.nonce),
            csr_pem=signing_request(key_pem, name=identity.name),
        )
        return await stub.Recover(proof, timeout=CALL_TIMEOUT)

    response = await _enrolment(identity, exchange)
    return identity.renewed(key_pem=key_pem, certificate_pem=response.certificate_pem, ca_pem=response.ca_pem)


async def why_refused(identity: Identity) -> Verdict:
    """What the server has against this node. Raises GameNodeError where it cannot be asked."""
    from gamenode_agent.keys import serial_number

    async def exchange(stub: EnrolmentAsyncStub) -> WhyRefusedResponse:
        request = WhyRefusedRequest(
            node_id=identity.node_id, certificate_serial=serial_number(identity.certificate_pem)
        )
        return await stub.WhyRefused(request, timeout=CALL_TIMEOUT)

    response = await _enrolment(identity, exchange)
    return Verdict(response.verdict, response.error.message)


async def _enrolment(identity: Identity, exchange: Callable[[EnrolmentAsyncStub], Awaitable[R]]) -> R:
    last = GameNodeError(Code.DISCONNECTED, "this node knows no enrolment address")
    for address in identity.join_addresses:
        async with transport.open_tls_channel(address, ca_pem=identity.ca_pem.encode()) as channel:
            try:
                return await exchange(EnrolmentStub(channel))
            except grpc.aio.AioRpcError as error:
                last = from_rpc(error)
                if last.code not in (Code.DISCONNECTED, Code.TIMEOUT):
                    raise last from error
    raise last
