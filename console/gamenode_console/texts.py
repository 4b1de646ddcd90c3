"""Figures, ages and foreign text as people read them. Pure; time is an argument.

Text that came from elsewhere (names, labels, errors, logs) goes through `inert` before it reaches a terminal.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: Controls that act on a terminal, and the marks that reorder what is read. Tab and newline are the caller's.
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_UNITS = ("B", "K", "M", "G", "T", "P")


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"<{code:02X}>" if code < 0x100 else f"<{code:04X}>"


def inert(text: str) -> str:
    """The text with everything that a terminal would act on shown as a picture of itself (ESC as ␛)."""
    return ACTIVE.sub(_picture, text)


def one_line(text: str) -> str:
    """The text on one line and inert: for cells and messages."""
    return inert(text.replace("\t", " ").replace("\r\n", " ⏎ ").replace("\n", " ⏎ "))


def size(count: float) -> str:
    """Bytes in powers of 1024: `0B`, `512M`, `1.5G`."""
    figure = float(count)
    for unit in _UNITS:
        if abs(figure) < 1024 or unit == _UNITS[-1]:
            break
        figure /= 1024
    return f"{figure:.0f}{unit}" if figure >= 10 or figure == int(figure) else f"{figure:.1f}{unit}"


def span(seconds: float) -> str:
    """A duration in its two largest units: `250ms`, `12s`, `3m05s`, `2h10m`, `4d03h`."""
    if seconds < 0:
        seconds = 0.0
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def parse_time(text: str) -> float:
    """Unix seconds of an RFC 3339 time; one without a zone is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def age(time: str | None, now: float) -> str:
    """How long ago a document's time was; `-` where there is none."""
    return "-" if time is None else span(now - parse_time(time))


def clock_time(seconds: float) -> str:
    """A log line's time of day in UTC with milliseconds, RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
