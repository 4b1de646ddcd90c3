"""Docker's short syntax of ports, and `auto`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.kinds import Port
from gamenode_pipelines.kinds.ports import MOST, PORTS, parse
from gamenode_pipelines.kinds.wrong import Wrong


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port(80)]),
        ("27960/udp", [Port(27960, "udp")]),
        ("auto:27960/UDP", [Port(27960, "udp")]),
        ("28000:27960/udp", [Port(27960, "udp", 28000)]),
        ("127.0.0.1:8080:80", [Port(80, "tcp", 8080, "127.0.0.1")]),
        ("127.0.0.1::80", [Port(80, "tcp", None, "127.0.0.1")]),
        ("127.0.0.1:auto:80", [Port(80, "tcp", None, "127.0.0.1")]),
        ("[::1]:8080:80/sctp", [Port(80, "sctp", 8080, "::1")]),
        ("7000-7002:9000-9002", [Port(9000, "tcp", 7000), Port(9001, "tcp", 7001), Port(9002, "tcp", 7002)]),
        ("auto:9000-9001/udp", [Port(9000, "udp"), Port(9001, "udp")]),
        ("65535:1", [Port(1, "tcp", 65535)]),
    ],
)
def test_an_entry_is_read(text: str, ports: list[Port]) -> None:
    assert PORTS.check([text]) == tuple(ports)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a port"),
        ("http", "is not a port; write it like 28000:27960/udp"),
        ("80:", "is not a port"),
        ("1:2:3:4", "is not a port"),
        ("-1", "is not a port"),
        ("0", "ports are between 1 and 65535"),
        ("65536:80", "ports are between 1 and 65535"),
        ("99999999999999:80", "ports are between 1 and 65535"),
        ("80/icmp", "'icmp' in '80/icmp' is none of tcp, udp and sctp"),
        ("9-8", "ends before it begins"),
        ("7000-7009:80", "maps 10 of the host's ports onto 1 of the container's"),
        ("7000:80-81", "maps 1 of the host's ports onto 2"),
        ("300.0.0.1:80:80", "'300.0.0.1' in '300.0.0.1:80:80' is not an address"),
        ("[127.0.0.1:80:80", "is not a port"),
        ("localhost:80:80", "is not a port"),
        ("²:80", "is not a port"),
    ],
)
def test_what_is_no_port_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["80:80", "80:81"], "uses port 80/tcp of the host twice"),
        (["10-20:10-20", "20:1"], "port 20/tcp"),
        (["10-20:10-20/udp", "127.0.0.1:5-12:5-12/udp"], "port 10/udp"),
        (["0.0.0.0:80:80", "[::1]:80:1"], "port 80/tcp"),
        ([f"1-{MOST}", "2000"], f"has {MOST + 1} ports; at most {MOST} are allowed"),
    ],
)
def test_ports_that_are_in_each_others_way(entries: list[str], words: str) -> None:
    for read in (PORTS.check, PORTS.normal):
        with pytest.raises(ValueError, match=re.escape(words)):
            read(entries)


def test_ports_that_are_not() -> None:
    PORTS.check(
        ["80:80/tcp", "80:80/udp", "127.0.0.1:81:1", "127.0.0.2:81:1", "10-12:1-3", "13-14:1-2", "auto:80", "80"]
    )


def test_each_bad_entry_has_its_number() -> None:
    with pytest.raises(Wrong) as caught:
        PORTS.check(["80", "x", "81", 0])
    assert [item.path for item in caught.value.items] == [(1,), (3,)]


WIDTHS = st.integers(1, 50)


@st.composite
def written(draw: st.DrawFn) -> str:
    width = draw(WIDTHS)

    def span() -> str:
        first = draw(st.integers(1, 65535 - width))
        return f"{first}-{first + width - 1}" if width > 1 or draw(st.booleans()) else str(first)

    host = draw(st.sampled_from(["", "auto:"])) or f"{span()}:"
    ip = draw(st.sampled_from(["", "127.0.0.1:", "[fe80::1]:", "0.0.0.0:"]))
    return ip + host + span() + draw(st.sampled_from(["", "/udp", "/tcp", "/sctp"]))


@given(written())
def test_any_entry_is_written_as_it_is_read(text: str) -> None:
    entry = parse(text)
    assert parse(str(entry)) == entry
    assert len(entry.ports) == len(entry.inside)
    assert PORTS.check(PORTS.normal([text])) == entry.ports


@given(st.lists(written(), max_size=6))
def test_a_clash_is_found_wherever_two_ports_are_one(entries: list[str]) -> None:
    seen: set[tuple[str, int, str]] = set()
    clash = False
    for port in (port for entry in entries for port in parse(entry).ports):
        if port.host_port is None:
            continue
        ip = "" if port.host_ip == "0.0.0.0" else port.host_ip
        others = {where for protocol, number, where in seen if (protocol, number) == (port.protocol, port.host_port)}
        clash = clash or (bool(others) and (not ip or "" in others or ip in others))
        seen.add((port.protocol, port.host_port, ip))
    try:
        PORTS.check(entries)
    except ValueError:
        assert clash
    else:
        assert not clash
