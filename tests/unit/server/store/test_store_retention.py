"""What is deleted when it is old, what stays, and what those hear who ask for what is gone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gamenode_pipelines.states import RunState, TaskState
from gamenode_server.records import NewEvent
from gamenode_server.store import queries, retention
from gamenode_server.store.retention import DAY, Retention
from support.stores import ManualClock, OpenStore, a_run, a_task, opened

START = ManualClock().time


def _create(run_id: str, state: RunState, at: float):  # type: ignore[no-untyped-def]
    def operation(tx):  # type: ignore[no-untyped-def]
        tx.put_bundle(f"bundle of {run_id}", b"x")
        ended = at if state.ended else 0.0
        tx.put_run(a_run(run_id, state=state, created_at=at, finished_at=ended, bundle_digest=f"bundle of {run_id}"))
        tx.put_task(a_task(f"t-{run_id}", run_id, state=TaskState.SUCCEEDED if ended else TaskState.RUNNING))
        tx.emit([NewEvent("run.created", run_id=run_id), NewEvent("node.joined")])

    return operation


async def _fill(there: OpenStore) -> None:
    await there.store.apply(_create("live", RunState.RUNNING, START))
    await there.store.apply(_create("good", RunState.SUCCEEDED, START))
    await there.store.apply(_create("bad", RunState.FAILED, START))
    there.clock.time = START + 31 * DAY
    await there.store.apply(_create("new", RunState.SUCCEEDED, there.clock.time))


def _rows(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    found = {
        table: [str(row[0]) for row in connection.execute(f"SELECT {column} FROM {table} ORDER BY 1")]
        for table, column in (
            ("runs", "id"),
            ("tasks", "run_id"),
            ("events", "run_id || '#' || cursor"),
            ("bundles", "digest"),
        )
    }
    connection.close()
    return found


async def test_old_runs_go_with_all_that_is_theirs_and_failed_ones_later(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as there:
        await _fill(there)
        assert await there.store.prune(Retention()) == ["good"]
        found = _rows(path)
        assert found["runs"] == found["tasks"] == ["bad", "live", "new"]
        assert found["events"] == ["#8", "bad#5", "live#1", "new#7"]
        assert there.store.view.run("good") is None
        assert await there.store.apply(lambda tx: (tx.run("good"), tx.task("t-good"))) == (None, None)
        there.clock.time = START + 120 * DAY
        assert sorted(await there.store.prune(Retention())) == ["bad", "new"]
        found = _rows(path)
        assert (found["runs"], found["events"]) == (["live"], ["live#1"])
        # A bundle stays as long as the last run that could have used it, and while a live run does.
        assert await there.store.apply(lambda tx: tx.bundle("bundle of live")) == b"x"
        assert found["bundles"] == ["bundle of live", "bundle of new"]


async def test_a_bundle_that_is_used_again_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as there:
        await there.store.apply(_create("r1", RunState.SUCCEEDED, START))
        there.clock.time = START + 60 * DAY
        await there.store.apply(lambda tx: tx.put_bundle("bundle of r1", b"x"))
        there.clock.time = START + 100 * DAY
        await there.store.prune(Retention())
        assert _rows(path)["bundles"] == ["bundle of r1"]
        there.clock.time = START + 200 * DAY
        await there.store.prune(Retention())
        assert _rows(path)["bundles"] == []

        def again(tx):  # type: ignore[no-untyped-def]
            assert tx.bundle("bundle of r1") is None
            tx.put_bundle("bundle of r1", b"x")

        await there.store.apply(again)
        assert _rows(path)["bundles"] == ["bundle of r1"]


async def test_it_takes_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", 3)
    monkeypatch.setattr(retention, "EVENTS_AT_ONCE", 5)
    async with opened() as there:
        for number in range(10):
            await there.store.apply(_create(f"r{number}", RunState.SUCCEEDED, START + number))
        there.clock.time += 40 * DAY
        first = await there.store.apply(lambda tx: retention.prune(tx, Retention()))
        assert (first.runs, first.more) == (("r0", "r1", "r2"), True)
        assert await there.store.prune(Retention()) == [f"r{number}" for number in range(3, 10)]
        assert (await there.store.read(queries.list_events)).events == []


async def test_who_asks_for_deleted_events_is_told() -> None:
    async with opened() as there:
        await _fill(there)
        await there.store.prune(Retention())
        assert (await there.store.read(queries.list_events, after=1)).resync
        assert not (await there.store.read(queries.list_events, after=6)).resync
        assert not (await there.store.read(queries.list_events, after=0)).resync  # from the oldest kept


async def test_answers_go_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as there:
        await there.store.apply(lambda tx: tx.put_answer("ops", "old", "s", "m"))
        there.clock.time += DAY - 10
        await there.store.apply(lambda tx: tx.put_answer("ops", "young", "s", "m"))
        there.clock.time += 20
        await there.store.prune(Retention())
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT request_id FROM requests").fetchall() == [("young",)]
        connection.close()
