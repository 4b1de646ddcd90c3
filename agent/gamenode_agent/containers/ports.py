"""Choosing host ports for a container's `auto` ones: what nobody listens on, and no container of ours was given.

Between the choice and the container's start another may take the port; then the engine says so, and the caller chooses
again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from gamenode_agent.containers.naming import given_ports
from gamenode_agent.engines.containers import Container
from gamenode_pipelines.errors import Code, GameNodeError

#: A port and its protocol.
Taken = set[tuple[int, str]]


def taken_by(containers: Iterable[Container]) -> Taken:
    """The host ports that containers have, or will have again when they are started."""
    taken: Taken = set()
    for container in containers:
        taken.update((port.host_port, port.protocol) for port in container.ports if port.host_port)
        for name, port in given_ports(container.labels).items():
            taken.add((port, name.rpartition("/")[2]))
    return taken


def choose(port_range: tuple[int, int], protocol: str, host_ip: str, taken: Taken) -> int:
    """The lowest port of the range that is free, which is `taken` from now on. Raises INSUFFICIENT_RESOURCES."""
    first, last = port_range
    for port in range(first, last + 1):
        if (port, protocol) not in taken and is_free(port, protocol, host_ip):
            taken.add((port, protocol))
            return port
    raise GameNodeError(
        Code.INSUFFICIENT_RESOURCES,
        f"no {protocol} port from {first} to {last} is free on this node",
        details={"resource": "ports", "protocol": protocol, "range": f"{first}-{last}"},
    )


def is_free(port: int, protocol: str, host_ip: str = "") -> bool:
    """Whether nobody on this host has the port, which only an attempt to bind it tells."""
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}.get(protocol)
    if kind is None:
        return True  # sctp: the engine will say
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((host_ip, port))
        except OSError as error:
            # An address this host lacks is for the engine to refuse by name.
            return error.errno == errno.EADDRNOTAVAIL
    return True
