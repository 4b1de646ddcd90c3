"""When a pipeline's schedule is due, and what becomes of a time that was missed or comes too soon. Pure.

Times are Unix seconds. A cron expression is read in its time zone, as Debian's cron does across a change of the clock:
a job at a fixed hour that the change skips runs right after it, one that the change repeats runs once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

#: A start that is later than this was missed; seconds.
LATE: Final = 60.0
#: Starts that wait for one another are no more than this; older ones count as missed.
MAX_WAITING: Final = 100
#: Where there are more times than this, those of the last week are looked at, and the others are not told.
MAX_DUE: Final = 10_000
_WEEK: Final = 7 * 86400.0


class CatchUp(StrEnum):
    """What happens with starts that the server was not there for."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class OnOverlap(StrEnum):
    """What happens with a start while the run before still goes on."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a pipeline is started by itself, and with which parameters."""

    id: str
    cron: str
    timezone: str = "UTC"
    catch_up: CatchUp = CatchUp.LATEST
    on_overlap: OnOverlap = OnOverlap.SKIP
    params: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True

    @property
    def rule(self) -> str:
        """What its times follow from: another rule has other times, and has missed none of them."""
        return f"{self.cron} {self.timezone}" + ("" if self.enabled else " off")

    def times(self, after: float) -> Iterator[float]:
        """Its times, from the first one after a time on."""
        start = datetime.fromtimestamp(after, UTC).astimezone(ZoneInfo(self.timezone))
        for time in CronSim(self.cron, start):
            if (at := time.timestamp()) > after:
                yield at

    def next(self, after: float) -> float | None:
        """The first time after a time; None where there is none within the years that cron knows."""
        return next(self.times(after), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule has come; what is kept of it."""

    #: Times up to this one are dealt with.
    since: float
    rule: str
    #: Times whose start waits for the run before to end, oldest first.
    waiting: tuple[float, ...] = ()
    #: Who paused it; empty: nobody.
    paused_by: str = ""
    paused_reason: str = ""
    #: The last time that was started, its run, and why it could not be started where it could not.
    last_time: float = 0.0
    last_run: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is due now. `starts` begins with the one that starts now where nothing is in its way."""

    progress: Progress
    #: The run that goes on is cancelled, and the first of those that wait starts when it has ended.
    cancel: bool = False
    #: Starts that nobody was there for, and starts left out because the run before still goes on.
    missed: tuple[float, ...] = ()
    skipped: tuple[float, ...] = ()

    @property
    def changed(self) -> bool:
        """There is something to tell or to do besides having looked."""
        return self.cancel or bool(self.missed or self.skipped or self.progress.waiting)


def begin(schedule: Schedule, now: float, before: Progress | None) -> Progress:
    """Where a schedule stands that is new, or that has other times than before: nothing was missed yet."""
    if before is not None and before.rule == schedule.rule:
        return before
    kept = before or Progress(now, schedule.rule)
    return replace(kept, since=now, rule=schedule.rule, waiting=())


def decide(schedule: Schedule, progress: Progress, now: float, *, running: bool) -> Decision:
    """Deals with every time up to `now`. `running`: the run that it started last has not ended."""
    looked = replace(progress, since=now)
    if progress.paused_by or not schedule.enabled:
        return Decision(replace(looked, waiting=()))
    due = _due(schedule, progress.since, now)
    late = [time for time in due if now - time > LATE]
    fresh = [time for time in due if now - time <= LATE]
    started, missed = _caught_up(schedule.catch_up, late, fresh)
    busy = running or bool(progress.waiting)
    queued, skipped = [*progress.waiting, *started], []
    match schedule.on_overlap:
        case OnOverlap.SKIP if busy:
            skipped = fresh
        case OnOverlap.SKIP:
            queued, skipped = [*queued, *fresh[-1:]], fresh[:-1]
        case OnOverlap.QUEUE:
            queued += fresh
        case OnOverlap.CANCEL:
            queued += fresh
            queued, skipped = queued[-1:], queued[:-1]
    over = max(0, len(queued) - MAX_WAITING)
    return Decision(
        replace(looked, waiting=tuple(queued[over:])),
        cancel=running and schedule.on_overlap is OnOverlap.CANCEL and bool(queued),
        missed=(*missed, *queued[:over]),
        skipped=tuple(skipped),
    )


def _due(schedule: Schedule, since: float, now: float) -> list[float]:
    found = list(islice(takewhile(lambda time: time <= now, schedule.times(since)), MAX_DUE + 1))
    if len(found) <= MAX_DUE:
        return found
    recent = deque(takewhile(lambda time: time <= now, schedule.times(max(since, now - _WEEK))), maxlen=MAX_DUE)
    return list(recent)


def _caught_up(how: CatchUp, late: Sequence[float], fresh: Sequence[float]) -> tuple[list[float], list[float]]:
    """The late times that are started all the same, and those that are not."""
    if how is CatchUp.ALL:
        return list(late), []
    if how is CatchUp.LATEST and late and not fresh:
        return [late[-1]], list(late[:-1])
    return [], list(late)
