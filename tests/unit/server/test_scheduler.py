"""Starts of schedules, over a clock that the test moves, and a store that survives the scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.controller.compiler import Compiler
from gamenode_server.records import NewAudit, PipelineVersion
from gamenode_server.schedules import progress
from gamenode_server.schedules.scheduler import Scheduler

NIGHT = datetime(2026, 1, 5, 3, 59, 30, tzinfo=UTC).timestamp()
TEXT = (
    "pipeline: backup\ntargets: {select: role=game}\nschedule: {cron: '0 4 * * *'}\nsteps:\n  - {id: a, run: 'true'}\n"
)


class Clock:
    def __init__(self) -> None:
        self.at = NIGHT

    def now(self) -> float:
        return self.at


class Store:
    """Meta, events and audit rows of a store, in memory: what survives a server."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.values: dict[str, str] = {}
        self.events: list[Any] = []
        self.audits: list[NewAudit] = []
        self.versions: dict[tuple[str, int], PipelineVersion] = {}

    @property
    def now(self) -> float:
        return self.clock.at

    def meta(self, key: str) -> str:
        return self.values.get(key, "")

    def pipeline(self, name: str, version: int) -> PipelineVersion | None:
        return self.versions.get((name, version))

    def put_meta(self, key: str, value: str) -> None:
        self.values[key] = value

    def emit(self, events: Any) -> None:
        self.events += events

    def audit(self, record: NewAudit) -> None:
        self.audits.append(record)

    async def apply(self, op: Any) -> Any:
        return op(self)

    def told(self) -> list[tuple[str, dict[str, str]]]:
        return [(event.type, dict(event.data)) for event in self.events]


class Runs:
    """The runs that were asked for; the same request id gives the same run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        self.going_on: set[str] = set()
        self.refusal: GameNodeError | None = None

    async def start(self, pipeline: str, params: Mapping[str, str], *, by: str, request_id: str, note: str) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((by, request_id))
        run_id = f"run-{request_id}"
        self.going_on.add(run_id)
        return run_id

    async def cancel(self, run_id: str, *, by: str, reason: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.cancelled.append(run_id)

    def goes_on(self, run_id: str) -> bool:
        return run_id in self.going_on


class Desk:
    """A scheduler over what a test holds; `restarted` is another one over the same store."""

    def __init__(self, text: str = TEXT) -> None:
        self.clock = Clock()
        self.store = Store(self.clock)
        self.runs = Runs()
        self.pipelines: dict[str, PipelineVersion] = {}
        self.put(text)
        self.restarted()

    def put(self, text: str, *, name: str = "backup") -> None:
        version = self.pipelines[name].version + 1 if name in self.pipelines else 1
        self.pipelines[name] = PipelineVersion(name, version, text, "", "", self.clock.at, "ana")
        self.store.versions[name, version] = self.pipelines[name]

    def restarted(self) -> None:
        self.scheduler = Scheduler(
            store=self.store,
            pipelines=lambda: self.pipelines,
            compiler=Compiler(),
            starter=self.runs,
            clock=self.clock,
            tick=1.0,
        )

    async def after(self, seconds: float) -> list[str]:
        """Moves the clock and looks; the times that were started by then."""
        self.clock.at += seconds
        await self.scheduler.look()
        return [request_id for _, request_id in self.runs.asked]

    @property
    def entry(self) -> Any:
        (entry,) = self.scheduler.entries()
        return entry


FOUR = f"{NIGHT + 30:.0f}"
NEXT_FOUR = f"{NIGHT + 30 + 86400:.0f}"


async def test_it_starts_when_it_is_due_and_once() -> None:
    desk = Desk()
    assert await desk.after(0) == []
    assert await desk.after(29) == []
    assert await desk.after(2) == [FOUR]
    assert await desk.after(1) == [FOUR]
    assert desk.runs.asked == [("schedule:backup/default", FOUR)]
    assert desk.entry.progress.last_run == f"run-{FOUR}"


async def test_one_that_was_just_stored_has_missed_nothing() -> None:
    desk = Desk()
    desk.clock.at += 40 * 86400
    assert await desk.after(0) == []
    assert desk.store.told() == []


async def test_a_server_that_was_away_starts_the_latest_and_tells_of_the_others() -> None:
    desk = Desk()
    await desk.after(0)
    desk.restarted()
    started = await desk.after(3 * 86400)
    assert started == [f"{NIGHT + 30 + 2 * 86400:.0f}"]
    assert desk.store.told() == [
        ("schedule.missed", {"schedule": "backup/default", "count": "2", "times": f"{FOUR},{NEXT_FOUR}"})
    ]


async def test_a_server_that_dies_between_start_and_note_asks_for_the_same_run_again() -> None:
    desk = Desk()
    await desk.after(0)
    kept = dict(desk.store.values)
    await desk.after(31)
    waiting = kept["schedule:backup/default"].replace('"waiting":[]', f'"waiting":[{FOUR}.0]')
    desk.store.values["schedule:backup/default"] = waiting
    desk.runs.going_on.clear()
    desk.restarted()
    assert await desk.after(1) == [FOUR, FOUR], "with the same request id, so it is the same run"
    assert desk.entry.progress.waiting == ()


async def test_one_that_overlaps_is_skipped_and_told() -> None:
    desk = Desk()
    await desk.after(0)
    await desk.after(31)
    assert await desk.after(86400) == [FOUR]
    assert ("schedule.skipped", {"schedule": "backup/default", "count": "1", "times": NEXT_FOUR}) in desk.store.told()
    desk.runs.going_on.clear()
    assert len(await desk.after(86400)) == 2


async def test_one_that_queues_starts_when_the_run_before_has_ended() -> None:
    desk = Desk(TEXT.replace("'}", "', on_overlap: queue}", 1))
    await desk.after(0)
    await desk.after(31)
    assert await desk.after(86400) == [FOUR]
    desk.restarted()
    assert await desk.after(60) == [FOUR]
    desk.runs.going_on.clear()
    assert await desk.after(60) == [FOUR, NEXT_FOUR]


async def test_one_that_cancels_asks_once_and_starts_when_the_run_has_ended() -> None:
    desk = Desk(TEXT.replace("'}", "', on_overlap: cancel}", 1))
    await desk.after(0)
    await desk.after(31)
    assert await desk.after(86400) == [FOUR]
    await desk.after(1)
    assert desk.runs.cancelled == [f"run-{FOUR}"]
    desk.runs.going_on.clear()
    assert await desk.after(1) == [FOUR, NEXT_FOUR]


async def test_a_start_that_is_refused_is_told_and_not_tried_for_ever() -> None:
    desk = Desk()
    await desk.after(0)
    desk.runs.refusal = GameNodeError(Code.NOT_FOUND, "no node matches role=game")
    await desk.after(31)
    assert desk.entry.progress.last_error == "not_found: no node matches role=game"
    assert [type for type, _ in desk.store.told()] == ["schedule.failed"]
    await desk.after(5)
    assert len(desk.store.told()) == 1
    desk.runs.refusal = None
    assert await desk.after(86400) == [NEXT_FOUR]
    assert desk.entry.progress.last_error == ""


async def test_a_full_disk_is_waited_for() -> None:
    desk = Desk()
    await desk.after(0)
    desk.runs.refusal = GameNodeError(Code.STORAGE_FULL, "full")
    assert await desk.after(31) == []
    desk.runs.refusal = None
    assert await desk.after(600) == [FOUR]
    assert desk.store.told() == []


async def test_a_paused_one_starts_nothing_over_a_restart_and_goes_on_from_then() -> None:
    desk = Desk()
    await desk.after(0)
    audit = NewAudit("ana", "SetSchedulesPaused", "backup/default", "ok", "", "")
    names = ["backup/default"]
    pause = progress.set_paused(names, paused=True, by="ana", reason="disks", audit=audit)
    await desk.scheduler.set_paused(pause)
    desk.restarted()
    assert await desk.after(86400) == []
    assert (desk.entry.progress.paused_by, desk.entry.progress.paused_reason) == ("ana", "disks")
    resume = progress.set_paused(names, paused=False, by="bob", reason="", audit=audit)
    await desk.scheduler.set_paused(resume)
    assert await desk.after(0) == []
    assert await desk.after(86400) == [f"{NIGHT + 30 + 86400:.0f}"]
    assert [type for type, _ in desk.store.told()] == ["schedule.paused", "schedule.resumed"]


async def test_other_times_begin_anew_and_a_removed_pipeline_starts_nothing() -> None:
    desk = Desk()
    await desk.after(0)
    desk.put(TEXT.replace("0 4", "30 3"))
    assert await desk.after(60) == [], "half past three was before it was stored"
    assert await desk.after(86400) == [f"{NIGHT - 1770 + 86400:.0f}"]
    desk.put("")
    await desk.after(5 * 86400)
    assert desk.scheduler.entries() == []
    assert len(desk.runs.asked) == 1


@pytest.mark.parametrize("broken", ["pipeline: [", "pipeline: other\n"])
async def test_one_that_cannot_be_read_holds_up_no_other(broken: str) -> None:
    desk = Desk()
    desk.put(broken, name="broken")
    await desk.after(0)
    assert await desk.after(31) == [FOUR]


@pytest.mark.parametrize("server_restarts", [False, True])
@pytest.mark.parametrize("out", ["", TEXT.replace("'0 4 * * *'", "'0 4 * * *', enabled: false, catch_up: all")])
async def test_what_was_out_of_use_for_a_while_has_missed_nothing(out: str, *, server_restarts: bool) -> None:
    back = TEXT.replace("'0 4 * * *'", "'0 4 * * *', catch_up: all")
    desk = Desk(back)
    await desk.after(0)
    assert await desk.after(31) == [FOUR]
    desk.runs.going_on.clear()
    desk.put(out)
    await desk.after(10)
    for _ in range(3):
        if server_restarts:
            desk.restarted()
        assert await desk.after(86400) == [FOUR]
    desk.put(back)
    if server_restarts:
        desk.restarted()
    assert await desk.after(1) == [FOUR]
    desk.restarted()
    last = await desk.after(86400)
    assert len(last) == 2, "and what is missed from then on is made up for"


async def test_a_cancel_that_cannot_be_stored_is_asked_for_again() -> None:
    desk = Desk(TEXT.replace("'}", "', on_overlap: cancel}", 1))
    await desk.after(0)
    await desk.after(31)
    desk.runs.refusal = GameNodeError(Code.STORAGE_FULL, "full")
    await desk.after(86400)
    assert desk.runs.cancelled == []
    desk.runs.refusal = None
    await desk.after(1)
    assert desk.runs.cancelled == [f"run-{FOUR}"]
