"""Parsers of settings: each turns text, or a YAML scalar or list, into a value; ValueError says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamenode_proto.process.addresses import split_address

Parser = Callable[[Any], Any]


def text(value: Any) -> str:
    """Any scalar, as it is written."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{value!r} is not text")
    return str(value)


def boolean(value: Any) -> bool:
    """`true` or `false`; in text also yes, no, on, off, 1 and 0."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def integer(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is not a whole number")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a whole number") from None


def positive(value: Any) -> int:
    """A whole number of at least 1."""
    number = integer(value)
    if number < 1:
        raise ValueError(f"{number} must be at least 1")
    return number


def number(value: Any) -> float:
    """A number above 0."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None
    if isinstance(value, bool) or not 0 < found < float("inf"):
        raise ValueError(f"{value!r} is not a number above 0")
    return found


def duration(value: Any) -> float:
    """Seconds, from Go's syntax (`1h30m`, `250ms`) or a bare number of seconds."""
    from gamenode_pipelines.quantities import parse_duration

    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{value!r} is not a duration such as 30s or 1h30m")
    return parse_duration(value)


def size(value: Any) -> int:
    """Bytes, from Docker's syntax (`512m`, `1.5g`) or a bare number."""
    from gamenode_pipelines.quantities import parse_size

    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a size such as 512m")
    return parse_size(value)


def path(value: Any) -> Path:
    """A file or folder; `~` is the user's home. Made absolute."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"{value!r} is not a path")
    return Path(os.path.abspath(os.path.expanduser(value)))


def address(value: Any) -> str:
    """`HOST:PORT`."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not HOST:PORT")
    split_address(value)
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list, or text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (list, tuple)):
        return tuple(text(part) for part in value)
    raise ValueError(f"{value!r} is not a list")


def addresses(value: Any) -> tuple[str, ...]:
    """A list of `HOST:PORT`, or text with commas."""
    return tuple(address(part) for part in texts(value))


def one_of(*words: str) -> Parser:
    """One of these words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    METAVARS[parse] = "|".join(words)
    return parse


#: What a help text shows in place of the value.
METAVARS: dict[Parser, str] = {
    text: "TEXT",
    integer: "N",
    positive: "N",
    number: "N",
    duration: "DURATION",
    size: "SIZE",
    path: "PATH",
    address: "HOST:PORT",
    addresses: "HOST:PORT,…",
    texts: "A,B,…",
    boolean: "",
}


def parser_for(default: Any) -> Parser:
    """The parser that follows from a default's type; a float is a duration."""
    match default:
        case bool():
            return boolean
        case int():
            return integer
        case float():
            return duration
        case Path():
            return path
        case tuple():
            return texts
        case _:
            return text
