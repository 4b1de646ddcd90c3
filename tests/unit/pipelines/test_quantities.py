"""Durations and sizes: Go's and Docker's syntax, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import quantities
from gamenode_pipelines.errors import Code, GameNodeError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        (90, 90),
        (0.25, 0.25),
        (1e-05, 1e-05),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("1m0.5s", 60.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("100us", 1e-4),
        ("100µs", 1e-4),
        ("100μs", 1e-4),
        ("7ns", 7e-9),
        ("90d", 90 * 86400),
        (" 5s ", 5),
    ],
)
def test_durations_are_gos(text: str | float, seconds: float) -> None:
    assert quantities.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5x", "1h 30m", "-5s", "+5s", "1e3s", "nan", "inf", "1,5s", "٣s", True, -1, "h1", "300000000000"]
)
def test_other_durations_are_refused_with_an_example(text: str | float) -> None:
    with pytest.raises(GameNodeError) as caught:
        quantities.parse_duration(text)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "1h30m" in caught.value.message or "292 years" in caught.value.message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (3600, "1h"),
        (3601.25, "1h1.25s"),
        (7e-9, "7ns"),
        (1.5e-5, "15µs"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert quantities.format_duration(seconds) == text


@given(st.integers(0, 2**62).map(lambda nanoseconds: nanoseconds / 1_000_000_000))
def test_a_written_duration_reads_as_itself(seconds: float) -> None:
    assert quantities.parse_duration(quantities.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        (17, 17),
        ("17b", 17),
        ("512m", 512 * 1024**2),
        ("512M", 512 * 1024**2),
        ("512MB", 512 * 1024**2),
        ("64MiB", 64 * 1024**2),
        ("1.5g", 1536 * 1024**2),
        ("1 k", 1024),
        ("2t", 2 * 1024**4),
        ("1P", 1024**5),
    ],
)
def test_sizes_are_dockers(text: str | int, size: int) -> None:
    assert quantities.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "5x", "-5m", "1e3", "5mm", "5  m", True, "9999999p"])
def test_other_sizes_are_refused(text: str | int) -> None:
    with pytest.raises(GameNodeError) as caught:
        quantities.parse_size(text)
    assert caught.value.code is Code.INVALID_ARGUMENT


@given(st.integers(0, 2**62))
def test_a_spelled_size_reads_as_itself(size: int) -> None:
    assert quantities.parse_size(quantities.spell_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (17, "17B"), (512 * 1024**2, "512MiB"), (1573741824, "1.466GiB"), (-2048, "-2KiB")]
)
def test_sizes_for_people_have_four_digits(size: int, text: str) -> None:
    assert quantities.format_size(size) == text


@pytest.mark.parametrize(("text", "bare"), [("5", True), ("1.5", True), ("0", False), ("5s", False), ("x", False)])
def test_bare_numbers_are_known(text: str, bare: bool) -> None:
    assert quantities.is_bare_number(text) is bare
