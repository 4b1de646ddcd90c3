"""Servers on other hosts: a channel that shows the user's certificate, and why there is no connection.

The certificate is the identity, so there is no login. gRPC says only that it could not connect; a plain handshake says
whether nobody is there, or somebody else.
"""

from __future__ import annotations

import asyncio
import ssl

import grpc.aio

from gamenode_console.credentials import Credentials
from gamenode_console.discovery import NetworkTarget
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.addresses import split_address
from gamenode_proto.transport import SERVER_NAME, open_tls_channel

#: Seconds for a connection to come about: a slow line is no reason to give up.
CONNECT_TIMEOUT = 10.0


class CertificateLogin:
    """Who we are is in the connection: no call has to show it again."""

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """Nothing."""
        return ()

    def forget(self) -> None:
        """There is nothing to forget."""


def open_network_channel(target: NetworkTarget, credentials: Credentials) -> grpc.aio.Channel:
    """A channel to the operators' port of the cluster that the credentials are for, wherever it is."""
    return open_tls_channel(
        target.address,
        ca_pem=credentials.ca.encode(),
        certificate_pem=credentials.certificate.encode(),
        key_pem=credentials.key.encode(),
        connect_timeout=CONNECT_TIMEOUT,
    )


async def explain_lost(target: NetworkTarget, credentials: Credentials, error: GameNodeError) -> GameNodeError:
    """A failed connection as something to act on; any other error as it is."""
    if error.code is not Code.DISCONNECTED:
        return error
    where = f"{target.address} (from {target.origin})"
    try:
        await _shake_hands(target.address, credentials.ca)
    except ssl.SSLCertVerificationError:
        return _lost(
            f"the server at {where} is not of the cluster {credentials.cluster_id}, "
            f"which {target.credentials} is for.\n"
            "Use the address of that cluster's --control-listen, or credentials of this one."
        )
    except ssl.SSLError as failed:
        return _lost(
            f"what answers at {where} is no GameNode server ({failed.reason}).\n"
            "Use the address of the server's --control-listen."
        )
    except TimeoutError:
        return _unreached(where, "no answer")
    except ConnectionRefusedError:
        return _unreached(where, "nothing listens there")
    except OSError as failed:
        return _unreached(where, failed.strerror or str(failed) or "it hung up")
    return _lost(
        f"the server at {where} does not take these credentials on this port ({error.message.splitlines()[0]}).\n"
        "Use the address of its --control-listen, not of --listen or --join-listen, and see that both clocks are right."
    )


async def _shake_hands(address: str, ca: str) -> None:
    """Connects and looks at the server's certificate, without showing one."""
    context = ssl.create_default_context(cadata=ca)
    context.set_alpn_protocols(["h2"])
    host, port = split_address(address)
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=SERVER_NAME)
    writer.transport.abort()


def _unreached(where: str, why: str) -> GameNodeError:
    return _lost(
        f"no server can be reached at {where}: {why}.\n"
        "See that it runs with --control-listen on that port, and that no firewall is in between."
    )


def _lost(message: str) -> GameNodeError:
    return GameNodeError(Code.DISCONNECTED, message)
