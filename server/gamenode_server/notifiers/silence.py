"""When a notifier keeps quiet: hours of a day, or until a moment. Pure; of the wall clock, since people set it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """From one time of day to another, in minutes after midnight, on the days on which it begins.

    Where `end` is not after `begin`, it ends on the next day.
    """

    begin: int
    end: int
    days: frozenset[int]
    zone: ZoneInfo

    def holds(self, wall: float) -> bool:
        """Whether it holds at this time."""
        here = datetime.fromtimestamp(wall, self.zone)
        minute, today = here.hour * 60 + here.minute, here.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        yesterday = (here.date() - timedelta(days=1)).weekday()
        return (today in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Until:
    """Up to a moment, Unix seconds."""

    moment: float

    def holds(self, wall: float) -> bool:
        """Whether it holds at this time."""
        return wall < self.moment


Silence = Hours | Until


def minutes(value: object) -> int:
    """A time of day, `22:30`, in minutes. An int is what YAML makes of one without quotes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value <= _MINUTES:
        return value % _MINUTES
    hour, colon, minute = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2 and int(minute) < 60):
        raise ValueError(f"{value!r} is not a time of day such as 22:30")
    found = int(hour) * 60 + int(minute)
    if found > _MINUTES:
        raise ValueError(f"{value!r} is later than 24:00")
    return found % _MINUTES


def moment(value: object) -> float:
    """A date, or a date with a time, as Unix seconds; UTC where it names no zone. Raises ValueError."""
    try:
        when = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"{value!r} is not a time such as 2026-12-24T18:00:00+01:00") from None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
