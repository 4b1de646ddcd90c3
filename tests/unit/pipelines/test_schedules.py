"""When schedules are due: across changes of the clock, after the server was away, and while a run still goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import schedules
from gamenode_pipelines.schedules import (
    LATE,
    MAX_WAITING,
    CatchUp,
    OnOverlap,
    Progress,
    Schedule,
    begin,
    decide,
)

HOUR = 3600.0
#: 2026-01-05 00:00 UTC, a Monday.
START = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
HOURLY = Schedule("hourly", "0 * * * *")


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def since(time: float, schedule: Schedule = HOURLY, **fields: object) -> Progress:
    return replace(Progress(time, schedule.rule), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        pytest.param("0 4 * * *", "UTC", "2026-01-05T03:00", ["2026-01-05T04:00+00:00"], id="plain"),
        pytest.param("0 4 * * *", "Asia/Tokyo", "2026-01-05T00:00", ["2026-01-05T04:00+09:00"], id="another zone"),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
            id="skipped by the change: right after it",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
            id="repeated by the change: once",
        ),
        pytest.param(
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T01:45",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"],
            id="every hour: every hour that passes",
        ),
        pytest.param(
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:45",
            ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"],
            id="every hour: none that does not exist",
        ),
        pytest.param("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00+00:00"], id="leap day"),
        pytest.param("0 9 * * MON-FRI", "UTC", "2026-01-09T10:00", ["2026-01-12T09:00+00:00"], id="weekdays"),
        pytest.param("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["2026-10-04T02:30+11:00"], id="half"),
    ],
)
def test_times_follow_the_clock_of_their_zone(cron: str, zone: str, after: str, expected: list[str]) -> None:
    times = Schedule("x", cron, zone).times(at(after, zone))
    found = [datetime.fromtimestamp(next(times), ZoneInfo(zone)).isoformat(timespec="minutes") for _ in expected]
    assert found == expected


def test_a_time_that_has_come_is_due_once() -> None:
    first = decide(HOURLY, since(START), START + HOUR, running=False)
    assert first.progress.waiting == (START + HOUR,)
    again = decide(HOURLY, replace(first.progress, waiting=()), START + HOUR + 1, running=False)
    assert again.progress.waiting == ()
    assert not again.changed


@pytest.mark.parametrize(
    ("how", "starts", "missed"),
    [
        (CatchUp.LATEST, [START + 5 * HOUR], [START + n * HOUR for n in range(1, 5)]),
        (CatchUp.ALL, [START + n * HOUR for n in range(1, 6)], []),
        (CatchUp.NONE, [], [START + n * HOUR for n in range(1, 6)]),
    ],
)
def test_what_was_missed_is_caught_up_as_it_says(how: CatchUp, starts: list[float], missed: list[float]) -> None:
    schedule = replace(HOURLY, catch_up=how)
    decision = decide(schedule, since(START), START + 5.5 * HOUR, running=False)
    assert (list(decision.progress.waiting), list(decision.missed)) == (starts, missed)


def test_a_start_that_is_only_a_little_late_was_not_missed() -> None:
    decision = decide(replace(HOURLY, catch_up=CatchUp.NONE), since(START), START + HOUR + LATE, running=False)
    assert decision.progress.waiting == (START + HOUR,)
    assert decision.missed == ()


@pytest.mark.parametrize(
    ("how", "waiting", "skipped", "cancel"),
    [
        (OnOverlap.SKIP, (), (START + HOUR,), False),
        (OnOverlap.QUEUE, (START + HOUR,), (), False),
        (OnOverlap.CANCEL, (START + HOUR,), (), True),
    ],
)
def test_a_run_that_still_goes_on(
    how: OnOverlap, waiting: tuple[float, ...], skipped: tuple[float, ...], cancel: bool
) -> None:
    decision = decide(replace(HOURLY, on_overlap=how), since(START), START + HOUR, running=True)
    assert (decision.progress.waiting, decision.skipped, decision.cancel) == (waiting, skipped, cancel)


def test_what_waits_stays_until_it_was_started_and_a_newer_one_of_cancel_takes_its_place() -> None:
    queue = replace(HOURLY, on_overlap=OnOverlap.QUEUE)
    first = decide(queue, since(START), START + HOUR, running=True)
    second = decide(queue, first.progress, START + 2 * HOUR, running=True)
    assert second.progress.waiting == (START + HOUR, START + 2 * HOUR)
    cancel = replace(HOURLY, on_overlap=OnOverlap.CANCEL)
    newer = decide(cancel, first.progress, START + 2 * HOUR, running=True)
    assert (newer.progress.waiting, newer.skipped, newer.cancel) == ((START + 2 * HOUR,), (START + HOUR,), True)


def test_a_paused_one_starts_nothing_and_misses_nothing() -> None:
    for schedule, progress in (
        (HOURLY, since(START, paused_by="ana", waiting=(START,))),
        (replace(HOURLY, enabled=False), since(START)),
    ):
        decision = decide(schedule, progress, START + 3 * HOUR, running=False)
        assert (decision.progress.waiting, decision.missed, decision.skipped) == ((), (), ())
        assert decision.progress.since == START + 3 * HOUR


def test_another_rule_begins_anew_and_the_same_goes_on() -> None:
    before = since(START, last_run="r1", waiting=(START,), paused_by="ana")
    assert begin(HOURLY, START + HOUR, before) is before
    anew = begin(replace(HOURLY, timezone="Asia/Tokyo"), START + HOUR, before)
    assert (anew.since, anew.waiting, anew.last_run, anew.paused_by) == (START + HOUR, (), "r1", "ana")
    assert begin(HOURLY, START, None) == Progress(START, HOURLY.rule)


def test_a_server_that_was_away_for_years_decides_at_once() -> None:
    minutely = Schedule("m", "* * * * *", catch_up=CatchUp.ALL)
    decision = decide(minutely, since(START, minutely), START + 20 * 365 * 86400.0, running=False)
    assert len(decision.progress.waiting) == MAX_WAITING
    assert decision.progress.waiting[-1] > START + 19.9 * 365 * 86400.0


_SCHEDULES = st.builds(
    Schedule,
    st.just("s"),
    st.sampled_from(["0 * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.sampled_from(list(CatchUp)),
    st.sampled_from(list(OnOverlap)),
)


@given(_SCHEDULES, st.lists(st.tuples(st.floats(1, 2 * 86400), st.booleans()), min_size=1, max_size=12))
def test_every_time_is_started_missed_or_skipped_exactly_once(
    schedule: Schedule, looks: list[tuple[float, bool]]
) -> None:
    """However long the pauses between two looks are, and whatever runs meanwhile."""
    begun = at("2026-03-27T00:00", "UTC")
    now, progress = begun, Progress(begun, schedule.rule)
    told: list[float] = []
    for pause, running in looks:
        now += pause
        decision = decide(schedule, progress, now, running=running)
        progress = decision.progress
        told += [*decision.missed, *decision.skipped]
        if progress.waiting and not running:
            told.append(progress.waiting[0])
            progress = replace(progress, waiting=progress.waiting[1:])
    everything = []
    for time in schedule.times(begun):
        if time > now:
            break
        everything.append(time)
    assert sorted([*told, *progress.waiting]) == everything


def test_one_of_every_minute_that_is_weeks_behind_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    class Counted(CronSim):
        def __next__(self) -> datetime:
            nonlocal looked
            looked += 1
            return super().__next__()

    monkeypatch.setattr(schedules, "CronSim", Counted)
    schedule = Schedule("often", "* * * * *", catch_up=CatchUp.ALL)
    behind = decide(schedule, Progress(START - 30 * 86400, schedule.rule), START, running=False)
    told = [*behind.missed, *behind.skipped, *behind.progress.waiting]
    assert (len(told), max(told)) == (schedules.MAX_DUE, START)
    assert looked < 3 * schedules.MAX_DUE
