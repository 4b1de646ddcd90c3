"""Parameter types of the command line: durations, times, labels, `K=V`. Each says what is wrong, at exit 2."""

from __future__ import annotations

from typing import Any

import click

from gamenode_console import texts
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import wall_clock


class Duration(click.ParamType[float]):
    """`1h30m`, `250ms`; a bare number is seconds. Gives seconds, above 0 unless `zero` says that none is fine too."""

    name = "DURATION"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to seconds."""
        if isinstance(value, float):
            return value
        from gamenode_pipelines.quantities import parse_duration

        try:
            seconds = parse_duration(value)
        except (ValueError, GameNodeError) as error:
            self.fail(str(error), param, ctx)
        if seconds < 0 or (seconds == 0 and not self._zero):
            self.fail(f"{value!r} must be more than 0", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A time: RFC 3339, or a duration before now. Gives Unix seconds."""

    name = "DURATION|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to Unix seconds."""
        if isinstance(value, float):
            return value
        try:
            return texts.parse_time(value)
        except ValueError:
            pass
        from gamenode_pipelines.quantities import parse_duration

        try:
            return wall_clock() - parse_duration(value)
        except (ValueError, GameNodeError):
            self.fail(
                f"{value!r} is neither a duration such as 15m nor a time such as 2026-01-31T12:00:00Z", param, ctx
            )


class Pair(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`; the value may be empty and may hold further `=`."""

    name = "K=V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Text to a pair."""
        if isinstance(value, tuple):
            return value
        key, sign, text = value.partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


DURATION = Duration()
DURATION_OR_ZERO = Duration(zero=True)
MOMENT = Moment()
PAIR = Pair()
