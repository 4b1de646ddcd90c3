"""How this host becomes a node: checks the server against the token's pin, then trades the token for a certificate.

The pin is checked before a byte of the secret leaves the host. The key is on disk before the first request, so that a
lost reply can be asked for again with the same key.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gamenode_agent.identity import FILE_NAME, Identity, save_identity, write_secret
from gamenode_agent.keys import lifetime, new_key, public_key_hash, signing_request
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.backoff import full_jitter
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.addresses import split_address
from gamenode_proto.tokens import JoinToken
from gamenode_proto.v1.enrolment_pb2 import JoinRequest, JoinResponse
from gamenode_proto.v1.enrolment_pb2_grpc import EnrolmentStub
from gamenode_proto.v1.nodes_pb2 import HostFacts

logger = logging.getLogger(__name__)

#: A key that has been sent and not been answered yet, by token: `join-TOKENID.key`.
_PENDING = "join-{}.key"


@dataclass(frozen=True, slots=True)
class JoinLimits:
    """Seconds and tries of one join."""

    connect: float = 5.0
    call: float = 10.0
    tries: int = 6
    backoff: float = 0.5


async def join(
    token: JoinToken,
    agent_dir: Path,
    *,
    name: str,
    labels: Mapping[str, str],
    facts: HostFacts,
    limits: JoinLimits | None = None,
) -> Identity:
    """Joins the cluster of the token and stores the identity.

    Raises GameNodeError: ALREADY_EXISTS where this folder belongs to a node, UNAUTHENTICATED for a server that is not
    the token's, DISCONNECTED where none of the addresses answers, or what the server says.
    """
    limits = limits or JoinLimits()
    if (agent_dir / FILE_NAME).exists():
        raise GameNodeError(
            Code.ALREADY_EXISTS,
            f"this host has joined already ({agent_dir / FILE_NAME}): `gamenode-agent leave` first, or use another"
            " --data-dir",
        )
    pending = _pending_path(agent_dir, token)
    key_pem = _pending_key(pending)
    request = JoinRequest(
        token_id=token.token_id,
        token_secret=token.secret,
        csr_pem=signing_request(key_pem, name=name or socket.gethostname()),
        name=name,
        labels=labels,
        facts=facts,
    )
    response = await _exchange(token, request, limits)
    identity = Identity(
        node_id=response.node_id,
        name=response.name,
        cluster_id=response.cluster_id,
        addresses=tuple(response.addresses),
        join_addresses=token.addresses,
        ticket_key=response.ticket_public_key,
        key_pem=key_pem,
        certificate_pem=response.certificate_pem,
        ca_pem=response.ca_pem,
        lifetime=lifetime(response.certificate_pem),
    )
    save_identity(agent_dir, identity)
    pending.unlink(missing_ok=True)
    return identity


async def _exchange(token: JoinToken, request: JoinRequest, limits: JoinLimits) -> JoinResponse:
    refused: GameNodeError | None = None
    for attempt in range(limits.tries):
        if attempt:
            await asyncio.sleep(full_jitter(attempt, random.random(), base=limits.backoff, cap=5.0))
        failures: list[str] = []
        for address in token.addresses:
            try:
                ca_pem = await asyncio.to_thread(pinned_ca, address, token.ca_pin, limits.connect)
            except GameNodeError as error:
                if error.code is not Code.DISCONNECTED:
                    raise
                failures.append(error.message)
                continue
            try:
                return await _call(address, ca_pem, request, limits)
            except GameNodeError as error:
                # An answer that got lost: the server gives the same one to the same key.
                if error.code not in (Code.DISCONNECTED, Code.TIMEOUT, Code.LIMIT_EXCEEDED):
                    raise
                failures.append(f"{address}: {error.message}")
        refused = GameNodeError(Code.DISCONNECTED, "no server could be reached: " + "; ".join(failures))
        logger.warning("%s", refused.message)
    assert refused is not None
    raise refused


async def _call(address: str, ca_pem: str, request: JoinRequest, limits: JoinLimits) -> JoinResponse:
    async with transport.open_tls_channel(address, ca_pem=ca_pem.encode()) as channel:
        try:
            response: JoinResponse = await EnrolmentStub(channel).Join(request, timeout=limits.call)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return response


def pinned_ca(address: str, pin: bytes, timeout: float) -> str:
    """The CA certificate (PEM) that the server at `address` shows and whose key has the SHA-256 `pin`. Blocks.

    Raises GameNodeError: DISCONNECTED where nothing answers, UNAUTHENTICATED where it is another CA's server.
    """
    chain = _shown_chain(address, timeout)
    seen: list[bytes] = []
    for der in chain:
        certificate = x509.load_der_x509_certificate(der)
        digest = public_key_hash(certificate)
        if digest == pin:
            return certificate.public_bytes(Encoding.PEM).decode()
        seen.append(digest)
    shown = f"sha256:{seen[-1].hex()}" if seen else "no certificate"
    raise GameNodeError(
        Code.UNAUTHENTICATED,
        f"the server at {address} is not the one this token is for: it shows the CA {shown}, the token is pinned to"
        f" sha256:{pin.hex()}; nothing was sent to it",
        details={"shown": shown, "pinned": f"sha256:{pin.hex()}"},
    )


def _shown_chain(address: str, timeout: float) -> list[bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Trust comes from the pin, which is compared before anything is sent.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        raw = socket.create_connection(split_address(address), timeout=timeout)
    except TimeoutError as error:
        raise _silent(address, timeout) from error
    except OSError as error:
        raise GameNodeError(Code.DISCONNECTED, f"{address}: {error.strerror or error}") from error
    try:
        with (
            raw,
            context.wrap_socket(
                raw, server_hostname=transport.SERVER_NAME, do_handshake_on_connect=False
            ) as connection,
        ):
            connection.do_handshake()
            return _unverified_chain(connection)
    except TimeoutError as error:
        raise _silent(address, timeout) from error
    except OSError as error:  # it ended the connection, or speaks something else
        why = getattr(error, "reason", None) or error.strerror or error
        raise GameNodeError(
            Code.DISCONNECTED, f"{address}: something answers, but not as a GameNode server ({why})"
        ) from error


def _silent(address: str, timeout: float) -> GameNodeError:
    return GameNodeError(Code.DISCONNECTED, f"{address}: no answer within {timeout:g} s")


def _unverified_chain(connection: ssl.SSLSocket) -> list[bytes]:
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # Python 3.13
        return [bytes(der) for der in public()]
    # Python 3.10 to 3.12 have it on the inner object only.
    inner = connection._sslobj  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_unverified_chain() or ()]


def _pending_path(agent_dir: Path, token: JoinToken) -> Path:
    # The token's id comes from outside: it must not become a path.
    safe = token.token_id if token.token_id.isalnum() else sha256(token.token_id.encode()).hexdigest()[:16]
    return agent_dir / _PENDING.format(safe)


def _pending_key(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        key_pem = new_key()
        write_secret(path, key_pem)
        return key_pem
