"""How a GameNode connection is set up: options that grpc-python needs to notice a dead peer, limits, and channels.

Every time is in seconds and can be scaled, so that tests run at a fraction of real time. Knows no service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gamenode_proto.process.addresses import join_address as join_address
from gamenode_proto.process.addresses import split_address as split_address

if TYPE_CHECKING:
    import grpc
    import grpc.aio

Option = tuple[str, int | str]

#: The name in every server certificate: the TLS identity is the cluster, never an address.
SERVER_NAME = "gamenode-server"

MIB = 1 << 20
#: Largest frame of the agents' listener: a log chunk, an inventory, a bundle that travels in its `Assign`.
AGENT_MESSAGE = 4 * MIB
#: Largest request on the operators' listener: a few pipeline files of 1 MiB.
CONTROL_MESSAGE = 16 * MIB
#: Largest answer a client takes: the document of a run over 5,000 nodes.
CLIENT_MESSAGE = 64 * MIB
#: Enrolment: a certificate request and some facts.
ENROLMENT_MESSAGE = MIB // 4

_VERBOSITY = "GRPC_VERBOSITY"


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How a dead peer is noticed, in seconds: pinged when silent for `time`, given up `timeout` later.

    Both ends need all of it: without `ping_timeout` a black hole goes unseen for a minute, whatever `timeout` says, and
    without `max_pings_without_data=0` pings are throttled to one a minute.
    """

    time: float = 10.0
    timeout: float = 5.0
    #: Longest pause of gRPC's own reconnecting.
    reconnect_max: float = 5.0


def quiet_core() -> None:
    """Keeps gRPC's C core from writing to stderr, where a terminal is. Call it before grpc is imported.

    An explicit GRPC_VERBOSITY in the environment wins.
    """
    os.environ.setdefault(_VERBOSITY, "NONE")


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _keepalive_options(keepalive: Keepalive) -> list[Option]:
    return [
        ("grpc.keepalive_time_ms", _ms(keepalive.time)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.http2.ping_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0),
    ]


def server_options(
    keepalive: Keepalive | None = None,
    *,
    max_message: int = AGENT_MESSAGE,
    max_streams: int = 32,
    max_metadata: int = 16 * 1024,
    max_pending: int = 10_000,
) -> list[Option]:
    """Options of a listening server.

    `max_message` bounds a request's bytes, `max_streams` the calls of one connection, `max_pending` the calls that wait
    to be accepted: the default would refuse a reconnect storm.
    """
    keepalive = keepalive or Keepalive()
    return [
        *_keepalive_options(keepalive),
        # Below the client's interval, or its pings count as abuse and it is thrown out.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(keepalive.time / 2)),
        # A client also pings to measure its bandwidth whenever data comes in, at any interval: two of those in a row
        # are not abuse either.
        ("grpc.http2.max_ping_strikes", 0),
        # A second server must not be able to bind the same port in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", CLIENT_MESSAGE),
        ("grpc.max_concurrent_streams", max_streams),
        ("grpc.max_metadata_size", max_metadata),
        ("grpc.server.max_pending_requests", max_pending),
        ("grpc.server.max_pending_requests_hard_limit", max_pending * 2),
        ("grpc.server_handshake_timeout_ms", 20_000),
    ]


def channel_options(
    keepalive: Keepalive | None = None,
    *,
    max_message: int = CLIENT_MESSAGE,
    own_connection: bool = False,
    server_name: str = SERVER_NAME,
    tls: bool = True,
    connect_timeout: float = 0.5,
) -> list[Option]:
    """Options of a client's channel.

    `own_connection` keeps this channel's connection from being shared with another channel of the process: control and
    logs need one each. `tls` off leaves out the name that a TLS peer is checked for. `connect_timeout` is how long a
    first try to connect may take; later ones may take as long as the pause after them.
    """
    keepalive = keepalive or Keepalive()
    options = [
        *_keepalive_options(keepalive),
        ("grpc.initial_reconnect_backoff_ms", _ms(min(0.5, keepalive.reconnect_max))),
        # Not a pause, whatever its name: how long a connection may take to come about.
        ("grpc.min_reconnect_backoff_ms", _ms(connect_timeout)),
        ("grpc.max_reconnect_backoff_ms", _ms(keepalive.reconnect_max)),
        # Repeating a call is a decision of ours, never of the transport.
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", max_message),
        ("grpc.max_metadata_size", 64 * 1024),
    ]
    if own_connection:
        options.append(("grpc.use_local_subchannel_pool", 1))
    if tls:
        options.append(("grpc.ssl_target_name_override", server_name))
        options.append(("grpc.default_authority", server_name))
    return options


def open_tls_channel(
    address: str,
    *,
    ca_pem: bytes,
    certificate_pem: bytes | None = None,
    key_pem: bytes | None = None,
    keepalive: Keepalive | None = None,
    own_connection: bool = False,
    connect_timeout: float = 0.5,
) -> grpc.aio.Channel:
    """A channel that trusts `ca_pem` and nothing else, and shows `certificate_pem` where one is given.

    Must be called on the thread and loop that own every gRPC object of the process.
    """
    import grpc
    import grpc.aio

    credentials = grpc.ssl_channel_credentials(ca_pem, key_pem, certificate_pem)
    options = channel_options(keepalive, own_connection=own_connection, connect_timeout=connect_timeout)
    return grpc.aio.secure_channel(address, credentials, options=options)


def open_unix_channel(path: str, *, keepalive: Keepalive | None = None) -> grpc.aio.Channel:
    """A channel to a Unix socket. Calls need a token from the login socket beside it (`gamenode_proto.login`)."""
    import grpc.aio

    options = [*channel_options(keepalive, tls=False), ("grpc.default_authority", "localhost")]
    return grpc.aio.insecure_channel(f"unix:{path}", options=options)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Call metadata that shows a login token."""
    return (("authorization", f"Bearer {token}"),)


def bearer_of(metadata: Mapping[str, str | bytes]) -> str | None:
    """The login token in a call's metadata, or None."""
    value = metadata.get("authorization")
    if not isinstance(value, str):
        return None
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
