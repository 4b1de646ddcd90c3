"""Docker's short syntax of published ports, and `auto`: a free one of the node's range.

27960/udp                the container's port, on a host port that the node chooses
auto:27960/udp           the same, said aloud
28000:27960/udp          on this one
127.0.0.1:8080:80        at this address of the host; [::1]:8080:80 for IPv6
27960-27963:27960-27963  each to its own
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, Leaf
from gamenode_pipelines.kinds.shapes import ListOf
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

#: Ports that one container may publish.
MOST: Final = 1000
_SHAPE: Final = re.compile(
    r"(?:(?:(?P<ip>\[[0-9A-Fa-f:.]*\]|[0-9.]+):)?(?P<host>auto|[0-9]+(?:-[0-9]+)?)?:)?"
    r"(?P<port>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>[A-Za-z]+))?"
)
_EXAMPLES: Final = "28000:27960/udp, 127.0.0.1:8080:80 or auto:27960/udp"


class Port(NamedTuple):
    """A published port. `host_port` is None where the node chooses; an empty `host_ip` is every address."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None
    host_ip: str = ""

    def __str__(self) -> str:
        ip = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        host = "auto" if self.host_port is None else str(self.host_port)
        return f"{ip + ':' if ip else ''}{host}:{self.container_port}/{self.protocol}"


def parse(text: str) -> tuple[Port, ...]:
    """The ports of one entry, ranges one by one. Raises ValueError with what is wrong with it."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a port; write it like {_EXAMPLES}")
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"{shown(match['protocol'])} in {shown(text)} is none of tcp, udp and sctp")
    inside = _range(match["port"], text)
    outside: Sequence[int | None] = [None] * len(inside)
    if match["host"] and match["host"] != "auto":
        outside = _range(match["host"], text)
        if len(outside) != len(inside):
            raise ValueError(
                f"{shown(text)} maps {len(outside)} ports of the host onto {len(inside)} of the container; "
                "write as many of both, or `auto`"
            )
    ip = _address(match["ip"], text)
    return tuple(Port(port, protocol, host, ip) for port, host in zip(inside, outside, strict=True))


def _range(text: str, entry: str) -> range:
    first, _, last = text.partition("-")
    if len(first) > 5 or len(last) > 5 or not 1 <= int(first) <= 65535 or not 1 <= int(last or first) <= 65535:
        raise ValueError(f"{shown(text)} in {shown(entry)} is not a port; ports are between 1 and 65535")
    if int(last or first) < int(first):
        raise ValueError(f"the range {shown(text)} in {shown(entry)} ends before it begins")
    if int(last or first) - int(first) >= MOST:
        raise ValueError(f"the range {shown(text)} in {shown(entry)} has more than {MOST} ports")
    return range(int(first), int(last or first) + 1)


def _address(text: str | None, entry: str) -> str:
    if text is None:
        return ""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise ValueError(f"{shown(text)} in {shown(entry)} is not an address of the host") from error


def _read(value: object) -> tuple[Port, ...]:
    return parse(text_of(value))


def _write(ports: tuple[Port, ...]) -> str:
    """The entry in its one spelling."""
    first, last = ports[0], ports[-1]
    if len(ports) == 1:
        return str(first)
    ip = f"[{first.host_ip}]" if ":" in first.host_ip else first.host_ip
    host = "auto" if first.host_port is None else f"{first.host_port}-{last.host_port}"
    return f"{ip + ':' if ip else ''}{host}:{first.container_port}-{last.container_port}/{first.protocol}"


def _gather(entries: Sequence[tuple[Port, ...]]) -> tuple[Port, ...]:
    """All ports in a row; raises ValueError where two want the same port of the host."""
    ports = tuple(port for entry in entries for port in entry)
    if len(ports) > MOST:
        raise ValueError(f"has {len(ports)} ports; at most {MOST} are allowed")
    seen: dict[tuple[str, int], list[Port]] = {}
    for port in ports:
        if port.host_port is None:
            continue
        others = seen.setdefault((port.protocol, port.host_port), [])
        for other in others:
            if port.host_ip == other.host_ip or not port.host_ip or not other.host_ip:
                raise ValueError(f"uses port {port.host_port}/{port.protocol} of the host twice")
        others.append(port)
    return ports


PORTS: Final = ListOf(Leaf("port", _read, SCALAR_SCHEMA, empty=(), write=_write), _gather)
