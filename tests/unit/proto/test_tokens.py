from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.tokens import JoinToken

TOKEN = JoinToken(("game.example:7444", "[::1]:7444"), "abcdefgh2345", b"s" * 32, b"p" * 32, 1000.5)


def message(text: str) -> str:
    with pytest.raises(GameNodeError) as caught:
        JoinToken.decode(text)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_a_token_survives_the_trip_also_inside_the_whole_command() -> None:
    assert JoinToken.decode(TOKEN.encode()) == TOKEN
    assert JoinToken.decode(f"  gamenode-agent join {TOKEN.encode()}\n") == TOKEN


def test_a_token_does_not_show_its_secret_in_a_log() -> None:
    assert "sss" not in repr(TOKEN)


def test_each_defect_has_its_own_message() -> None:
    assert "empty" in message("  ")
    assert "not a join token" in message("hello")
    assert "another version" in message("gn2.abcdef")
    assert "cut short" in message(TOKEN.encode()[:-3])
    assert "cut short" in message("gn1.")
    assert "damaged" in message("gn1.e30")


@given(st.integers(min_value=4, max_value=len(TOKEN.encode()) - 1))
def test_every_truncation_is_named_as_one(length: int) -> None:
    assert "cut short" in message(TOKEN.encode()[:length])


@given(st.text(max_size=80))
def test_no_text_makes_a_traceback(text: str) -> None:
    for candidate in (text, f"gn1.{text}"):
        with pytest.raises(GameNodeError):
            JoinToken.decode(candidate)


def test_expiry_is_its_own_error_and_says_how_long_ago() -> None:
    TOKEN.check(1000.0)
    with pytest.raises(GameNodeError, match="expired 2 hours ago") as caught:
        TOKEN.check(1000.5 + 7300)
    assert caught.value.code is Code.UNAUTHENTICATED
