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
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
_EVERY: Final = ("0.0.0.0", "::")
_EXAMPLES: Final = "28000:27960/udp, 127.0.0.1:8080:80 or auto:27960/udp"


class Port(NamedTuple):
    """A published port. `host_port` is None where the node chooses; an empty `host_ip` is every address."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `ports`, a range not yet taken apart. `outside` is None where the node chooses."""

    inside: range
    protocol: str
    outside: range | None
    host_ip: str

    @property
    def ports(self) -> tuple[Port, ...]:
        """The ports, one by one."""
        outside: Iterable[int | None] = self.outside or [None] * len(self.inside)
        return tuple(
            Port(port, self.protocol, host, self.host_ip) for port, host in zip(self.inside, outside, strict=True)
        )

    def __str__(self) -> str:
        ip = f"[{self.host_ip}]:" if ":" in self.host_ip else f"{self.host_ip}:" if self.host_ip else ""
        return f"{ip}{_spelled(self.outside) if self.outside else 'auto'}:{_spelled(self.inside)}/{self.protocol}"


def parse(text: str) -> Entry:
    """One entry. Raises ValueError with what is wrong with it."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a port; write it like {_EXAMPLES}")
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(f"{shown(match['protocol'])} in {shown(text)} is none of tcp, udp and sctp")
    inside = _range(match["port"], text)
    outside = _range(match["host"], text) if match["host"] and match["host"] != "auto" else None
    if outside is not None and len(outside) != len(inside):
        raise ValueError(
            f"{shown(text)} maps {len(outside)} of the host's ports onto {len(inside)} of the container's; "
            "write as many of both, or `auto`"
        )
    return Entry(inside, protocol, outside, _address(match["ip"], text))


def _range(text: str, entry: str) -> range:
    first, _, last = text.partition("-")
    if len(first) > 5 or len(last) > 5 or not 1 <= int(first) <= 65535 or not 1 <= int(last or first) <= 65535:
        raise ValueError(f"{shown(text)} in {shown(entry)} is not a port; ports are between 1 and 65535")
    if int(last or first) < int(first):
        raise ValueError(f"the range {shown(text)} in {shown(entry)} ends before it begins")
    return range(int(first), int(last or first) + 1)


def _spelled(ports: range) -> str:
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"


def _address(text: str | None, entry: str) -> str:
    if text is None:
        return ""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise ValueError(f"{shown(text)} in {shown(entry)} is not an address of the host") from error


def _apart(entries: Sequence[Entry]) -> None:
    """Raises ValueError where there are too many ports, or two want the same one of the host."""
    if (count := sum(len(entry.inside) for entry in entries)) > MOST:
        raise ValueError(f"has {count} ports; at most {MOST} are allowed")
    taken: dict[tuple[str, str], list[range]] = {}
    for entry in entries:
        if entry.outside is not None:
            ip = "" if entry.host_ip in _EVERY else entry.host_ip
            taken.setdefault((entry.protocol, ip), []).append(entry.outside)
    for ranges in taken.values():
        ranges.sort(key=lambda ports: ports[0])
    for (protocol, ip), ranges in taken.items():
        for before, after in pairwise(ranges):
            if after[0] in before:
                raise ValueError(_twice(after[0], protocol))
        everywhere = taken.get((protocol, ""), []) if ip else []
        for ports in ranges if everywhere else ():
            other = everywhere[max(0, bisect_right(everywhere, ports[-1], key=lambda other: other[0]) - 1)]
            if shared := range(max(ports[0], other[0]), min(ports[-1], other[-1]) + 1):
                raise ValueError(_twice(shared[0], protocol))


def _twice(port: int, protocol: str) -> str:
    return f"uses port {port}/{protocol} of the host twice"


def _each(entries: Sequence[Entry]) -> tuple[Port, ...]:
    return tuple(port for entry in entries for port in entry.ports)


def _entry(value: object) -> Entry:
    if isinstance(value, Mapping):
        raise ValueError(f"is a mapping; write it like {_EXAMPLES}")
    return parse(text_of(value))


PORTS: Final = ListOf(Leaf("port", _entry, SCALAR_SCHEMA, write=str), rule=_apart, gather=_each)
