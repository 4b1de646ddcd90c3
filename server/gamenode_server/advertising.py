"""Which addresses go into join tokens and answers: what the operator said, or what can be seen of this host."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gamenode_proto.process.addresses import join_address, split_address


@dataclass(frozen=True, slots=True)
class Advertised:
    """Addresses for tokens and for agents, best first, and what an operator should know about them."""

    join: Sequence[str]
    agents: Sequence[str]
    warnings: Sequence[str] = ()


def advertised(listen: str, join_listen: str, given: Sequence[str]) -> Advertised:
    """Addresses of a server that listens there.

    Of each given address the host counts for both ports. Its port counts for itself: it may be mapped on the way here,
    so where it is none of this server's ports it is tried for both, before them.
    """
    _, agent_port = split_address(listen)
    _, join_port = split_address(join_listen)
    if given:
        join: list[str] = []
        agents: list[str] = []
        for address in given:
            host, port = split_address(address)
            if port not in (agent_port, join_port):
                join.append(address)
                agents.append(address)
            join.append(join_address(host, join_port))
            agents.append(join_address(host, agent_port))
        return Advertised(_unique(join), _unique(agents))
    hosts = {flag: _hosts(split_address(address)[0]) for flag, address in (("a", listen), ("j", join_listen))}
    warnings = []
    if all(_is_loopback(host) for host in hosts["j"]):
        warnings.append(
            f"hosts join at {join_listen}, which only this machine can reach: "
            "start the server with --join-listen and --listen on another address, or with --advertise"
        )
    return Advertised(
        [join_address(host, join_port) for host in hosts["j"]],
        [join_address(host, agent_port) for host in hosts["a"]],
        warnings,
    )


def _hosts(bound: str) -> list[str]:
    if bound not in ("0.0.0.0", "::"):
        return [bound]
    seen = [_outgoing(socket.AF_INET, "192.0.2.1")]
    if bound == "::":
        seen.insert(0, _outgoing(socket.AF_INET6, "2001:db8::1"))
    return _unique([host for host in seen if host]) or ["127.0.0.1"]


def _outgoing(family: socket.AddressFamily, somewhere: str) -> str:
    """The address this host would send from; connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((somewhere, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unique(items: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(items))
