from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.advertising import advertised
from gamenode_server.identity.names import MAX_NAME, check_name, name_from_host, numbered
from gamenode_server.identity.throttle import MAX_SOURCES, FailureThrottle


@pytest.mark.parametrize("name", ["a", "eu-1", "host.example", "0_0", "a" * 63])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a\x1b[0m", "ä", "a" * 64, "a\n", "../x", "a/b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(GameNodeError) as caught:
        check_name(name)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 300


@given(st.text(max_size=200), st.integers(min_value=1, max_value=999))
def test_any_host_name_gives_a_good_name_or_none(hostname: str, number: int) -> None:
    name = name_from_host(hostname)
    if name:
        assert check_name(numbered(name, number))
        assert len(numbered(name, number)) <= MAX_NAME


def test_failures_are_counted_by_source_and_forgiven_over_time() -> None:
    throttle = FailureThrottle(burst=3, refill=10.0)
    for _ in range(3):
        assert throttle.wait("a", 0.0) == 0
        throttle.failed("a", 0.0)
    assert throttle.wait("a", 0.0) == pytest.approx(10.0)
    assert throttle.wait("b", 0.0) == 0
    assert throttle.wait("a", 9.0) == pytest.approx(1.0)
    assert throttle.wait("a", 10.0) == 0
    throttle.failed("a", 10.0)
    assert throttle.wait("a", 10.0) == pytest.approx(10.0)
    assert throttle.wait("a", 1000.0) == 0


def test_sources_without_end_take_no_memory_without_end() -> None:
    throttle = FailureThrottle()
    for number in range(MAX_SOURCES + 100):
        throttle.failed(str(number), 0.0)
    assert len(throttle._full_at) == MAX_SOURCES


def test_what_is_listened_on_is_advertised() -> None:
    found = advertised("127.0.0.1:7443", "127.0.0.1:7444", ())
    assert (found.join, found.agents) == (["127.0.0.1:7444"], ["127.0.0.1:7443"])
    assert "only this machine" in found.warnings[0]
    everywhere = advertised("0.0.0.0:7443", "0.0.0.0:7444", ())
    assert not everywhere.join[0].startswith("0.0.0.0")
    assert everywhere.join[0].endswith(":7444")
    outside = advertised("203.0.113.9:1", "203.0.113.9:2", ())
    assert (outside.join, outside.agents, outside.warnings) == (["203.0.113.9:2"], ["203.0.113.9:1"], [])


def test_advertised_addresses_come_in_their_order_with_the_port_that_fits() -> None:
    given_ = ("game.example:7443", "10.0.0.1:7444", "nat.example:9000", "game.example:7444")
    found = advertised("0.0.0.0:7443", "0.0.0.0:7444", given_)
    assert found.join == ["game.example:7444", "10.0.0.1:7444", "nat.example:9000", "nat.example:7444"]
    assert found.agents == ["game.example:7443", "10.0.0.1:7443", "nat.example:9000", "nat.example:7443"]
    assert not found.warnings
