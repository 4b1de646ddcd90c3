"""Durations in Go's syntax and sizes in Docker's, from text to numbers and back.

Seconds are floats on a nanosecond grid, sizes are whole bytes. Knows nothing of where a value comes from.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.wording import shown

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_NUMBER: Final = r"(?:[0-9]{1,19}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_DURATION_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h|d))+")
_BARE: Final = re.compile(_NUMBER)
#: As far as Go's durations reach: 2^63 nanoseconds, 292 years.
_MAX_NANOSECONDS: Final = 2**63 - 1

_SIZE: Final = re.compile(rf"({_NUMBER}) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MAX_SIZE: Final = 2**63 - 1


def is_bare_number(text: str) -> bool:
    """Whether a duration is written without its unit; `0` needs none."""
    return _BARE.fullmatch(text) is not None and Decimal(text) != 0


def parse_duration(value: str | int | float) -> float:
    """Seconds from Go's syntax (`1h30m`, `250ms`, also `d` for 24 hours) or a bare number of seconds.

    Raises GameNodeError(INVALID_ARGUMENT) for anything else: a sign, another unit, more than 292 years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _invalid_duration(value)
    text = value.strip() if isinstance(value, str) else str(value)
    if _DURATION.fullmatch(text):
        exact = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    elif _BARE.fullmatch(text):
        exact = Decimal(text) * 1_000_000_000
    elif isinstance(value, float) and 0 <= value < 1:
        exact = Decimal(value) * 1_000_000_000  # 1e-05 and the like
    else:
        raise _invalid_duration(value)
    nanoseconds = round(exact)
    if nanoseconds > _MAX_NANOSECONDS:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(str(value))} is longer than 292 years")
    return nanoseconds / 1_000_000_000


def format_duration(seconds: float) -> str:
    """The shortest exact spelling, to the nanosecond: `1h30m`, `2m1.5s`, `250ms`, `0s`; a minus before a negative."""
    nanoseconds = round(Decimal(seconds) * 1_000_000_000)
    if nanoseconds < 0:
        return "-" + format_duration(-seconds)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000_000_000:
        unit = next(unit for unit in ("ms", "µs", "ns") if nanoseconds >= _NANOSECONDS[unit])
        return _decimal(nanoseconds, _NANOSECONDS[unit]) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "")
    return "".join(parts) + (_decimal(rest, 1_000_000_000) + "s" if rest else "")


def parse_size(value: str | int) -> int:
    """Bytes from Docker's syntax (`512m`, `1.5g`, `64MiB`: powers of 1024 always) or a bare number of bytes.

    Raises GameNodeError(INVALID_ARGUMENT) for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _invalid_size(value)
    match = _SIZE.fullmatch(value.strip() if isinstance(value, str) else str(value))
    if match is None:
        raise _invalid_size(value)
    size = int(Decimal(match[1]) * 1024 ** _POWERS[match[2].lower()])
    if size > _MAX_SIZE:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{shown(str(value))} is more than 8 EiB")
    return size


def format_size(size: int) -> str:
    """For people: four significant digits in the fitting unit, `512MiB`, `1.465GiB`, `17B`."""
    sign, rest = ("-", -size) if size < 0 else ("", size)
    for unit, power in (("PiB", 5), ("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if rest >= 1024**power:
            return f"{sign}{float(f'{rest / 1024**power:.4g}'):g}{unit}"
    return f"{sign}{rest}B"


def spell_size(size: int) -> str:
    """For files: the shortest exact spelling, `512m`, `1000b`."""
    for unit, power in (("p", 5), ("t", 4), ("g", 3), ("m", 2), ("k", 1)):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return f"{size}b"


def _decimal(value: int, scale: int) -> str:
    """`value / scale` exactly, without trailing zeros; `scale` is a power of ten."""
    whole, rest = divmod(value, scale)
    return f"{whole}.{str(rest).zfill(len(str(scale)) - 1)}".rstrip("0").rstrip(".")


def _invalid_duration(value: object) -> GameNodeError:
    return GameNodeError(
        Code.INVALID_ARGUMENT, f"{shown(str(value))} is not a duration; write it like 90s, 1h30m or 250ms"
    )


def _invalid_size(value: object) -> GameNodeError:
    return GameNodeError(Code.INVALID_ARGUMENT, f"{shown(str(value))} is not a size; write it like 512m, 1.5g or 64MiB")
