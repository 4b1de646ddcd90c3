"""What any store must do, on every database it runs on. Another database joins by a line in `DATABASES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import TaskEvent, TaskStarted
from gamenode_pipelines.states import NodeState, RunState, TaskState
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.records import JoinToken, NewAudit, NewEvent, User
from gamenode_server.store import queries
from gamenode_server.store.audit_chain import GENESIS, canonical, chain_mac
from support.stores import AUDIT_KEY, ManualClock, OpenStore, a_node, a_pipeline, a_run, a_task, doing, opened

Open = Callable[[], AbstractAsyncContextManager[OpenStore]]

#: Name → where, in a test's own folder; a store of None forgets when it is closed.
DATABASES: dict[str, Callable[[Path], Path | None]] = {"memory": lambda _: None, "file": lambda tmp: tmp / "store.db"}


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return DATABASES[request.param](tmp_path)


@pytest.fixture
async def there(place: Path | None) -> AsyncIterator[OpenStore]:
    async with opened(place or ":memory:") as found:
        yield found


# -- records ----------------------------------------------------------------------------------------------------------


async def test_what_is_put_is_read_back_by_later_operations(there: OpenStore) -> None:
    node = a_node(
        "nodeaaaaaaaa",
        "eu-1",
        state=NodeState.ONLINE,
        labels={"region": "eu"},
        facts=nodes_pb2.HostFacts(hostname="h", slots=8).SerializeToString(),
        session_epoch=7,
        outbox_acked=99,
        public_key=b"\x01\x02",
    )
    token = JoinToken("tok", b"\x00" * 32, 2e9, 3, "ops", 1.0, "eu-2", {"a": "b"}, "nodeold", {"ab": "nodeaaaaaaaa"})
    run, task, pipeline = a_run("runaaaaaaaaa"), a_task("taskaaaaaaaa", "runaaaaaaaaa"), a_pipeline("deploy", 1)
    await there.store.apply(
        doing(
            lambda tx: tx.put_node(node),
            lambda tx: tx.put_token(token),
            lambda tx: tx.put_run(run),
            lambda tx: tx.put_task(task),
            lambda tx: tx.put_pipeline(pipeline),
            lambda tx: tx.put_bundle("dd", b"bundle"),
            lambda tx: tx.put_meta("k", "v"),
        )
    )

    def look(tx: Any) -> tuple[Any, ...]:
        return (
            tx.node("nodeaaaaaaaa"),
            tx.node_named("eu-1"),
            tx.token("tok"),
            tx.run("runaaaaaaaaa"),
            tx.task("taskaaaaaaaa"),
            tx.pipeline("deploy"),
            tx.bundle("dd"),
            tx.meta("k"),
        )

    assert await there.store.apply(look) == (node, node, token, run, task, pipeline, b"bundle", "v")


async def test_nothing_there_is_none_and_an_empty_setting(there: OpenStore) -> None:
    def look(tx: Any) -> tuple[Any, ...]:
        return (
            tx.run("x"),
            tx.task("x"),
            tx.node("x"),
            tx.node_named("x"),
            tx.pipeline("x"),
            tx.bundle("x"),
            tx.token("x"),
            tx.answer("ops", "x"),
            tx.meta("x"),
            list(tx.tasks_of("x")),
            list(tx.live_tasks_on("x")),
        )

    assert await there.store.apply(look) == (None,) * 8 + ("", [], [])


async def test_an_operation_sees_its_own_writes_and_the_lists_follow(there: OpenStore) -> None:
    def operation(tx: Any) -> Any:
        tx.put_run(a_run("runaaaaaaaaa", total=3))
        for position in (2, 0, 1):
            tx.put_task(a_task(f"task{position}", "runaaaaaaaaa", position=position, created_at=float(position)))
        tx.put_task(replace(tx.task("task1"), state=TaskState.SUCCEEDED))
        return (
            [task.id for task in tx.tasks_of("runaaaaaaaaa")],
            [task.id for task in tx.live_tasks_of("runaaaaaaaaa")],
            [task.id for task in tx.live_tasks_on("nodeaaaaaaaa")],
            [run.id for run in tx.live_runs()],
        )

    expected = (["task0", "task1", "task2"], ["task0", "task2"], ["task0", "task2"], ["runaaaaaaaaa"])
    assert await there.store.apply(operation) == expected


async def test_an_ended_run_leaves_the_live_lists_but_stays_readable(there: OpenStore) -> None:
    await there.store.apply(doing(lambda tx: tx.put_run(a_run("r1")), lambda tx: tx.put_task(a_task("t1", "r1"))))

    def end(tx: Any) -> None:
        tx.put_task(replace(tx.task("t1"), state=TaskState.FAILED))
        tx.put_run(replace(tx.run("r1"), state=RunState.FAILED))

    await there.store.apply(end)

    def look(tx: Any) -> Any:
        return list(tx.live_runs()), list(tx.live_tasks_on("nodeaaaaaaaa")), tx.run("r1").state, tx.task("t1").state

    assert await there.store.apply(look) == ([], [], RunState.FAILED, TaskState.FAILED)


async def test_nodes_come_by_name_and_a_name_belongs_to_one(there: OpenStore) -> None:
    for node_id, name in (("n1", "b"), ("n2", "a"), ("n3", "c")):
        await there.store.apply(lambda tx, node_id=node_id, name=name: tx.put_node(a_node(node_id, name)))
    assert [n.name for n in await there.store.apply(lambda tx: tx.nodes())] == ["a", "b", "c"]
    with pytest.raises(GameNodeError) as caught:
        await there.store.apply(lambda tx: tx.put_node(a_node("n4", "a")))
    assert caught.value.code is Code.ALREADY_EXISTS

    def replace_it(tx: Any) -> None:  # the name is free again at once
        tx.remove_node("n2")
        tx.put_node(a_node("n4", "a"))

    await there.store.apply(replace_it)
    assert [n.id for n in await there.store.read(queries.list_nodes)] == ["n4", "n1", "n3"]


async def test_pipelines_count_their_versions(there: OpenStore) -> None:
    for version in (1, 2):
        await there.store.apply(lambda tx, v=version: tx.put_pipeline(a_pipeline("deploy", v, f"text {v}")))
    newest, first, none = await there.store.apply(
        lambda tx: (tx.pipeline("deploy"), tx.pipeline("deploy", 1), tx.pipeline("deploy", 3))
    )
    assert (newest.version, first.text, none) == (2, "text 1", None)
    with pytest.raises(GameNodeError) as caught:
        await there.store.apply(lambda tx: tx.put_pipeline(a_pipeline("deploy", 2)))
    assert caught.value.code is Code.STATE_CONFLICT


async def test_an_answer_is_remembered_for_a_day(there: OpenStore) -> None:
    await there.store.apply(lambda tx: tx.put_answer("ops", "req", "sha", "run1"))
    assert await there.store.apply(lambda tx: tx.answer("ops", "req")) == ("sha", "run1")
    assert await there.store.apply(lambda tx: tx.answer("dev", "req")) is None
    there.clock.time += 86_401
    assert await there.store.apply(lambda tx: tx.answer("ops", "req")) is None


# -- all or nothing ---------------------------------------------------------------------------------------------------


def _everything(tx: Any) -> None:
    tx.put_meta("k", "new")
    tx.put_node(a_node("n1", "one", session_epoch=2))
    tx.put_node(a_node("n2", "two"))
    tx.remove_node("n3")
    tx.put_run(a_run("r1", note="new"))
    tx.put_task(a_task("t1", "r1", fence=2))
    tx.put_task(a_task("t2", "r1", position=1))
    tx.put_run(a_run("r2"))
    tx.put_pipeline(a_pipeline("p", 2))
    tx.put_bundle("new", b"x")
    tx.put_token(JoinToken("tok", b"", 0.0, 1, "ops", 0.0))
    tx.put_user(User("alice", "admin", 0.0, "ops", revoked_at=1.0))
    tx.put_user(User("bob", "viewer", 0.0, "ops"))
    tx.put_answer("ops", "r", "s", "m")
    tx.emit([NewEvent("run.created")])
    tx.audit(NewAudit("ops", "M", "t", "ok", "{}", "socket"))
    tx.effect("effect")


def _prepare(tx: Any) -> None:
    tx.put_meta("k", "old")
    tx.put_node(a_node("n1", "one", session_epoch=1))
    tx.put_node(a_node("n3", "three"))
    tx.put_run(a_run("r1"))
    tx.put_task(a_task("t1", "r1"))
    tx.put_pipeline(a_pipeline("p", 1))
    tx.put_user(User("alice", "admin", 0.0, "ops"))


def _snapshot(tx: Any) -> Any:
    return (
        tx.meta("k"),
        tx.nodes(),
        tx.run("r1"),
        tx.run("r2"),
        tx.tasks_of("r1"),
        tx.live_runs(),
        tx.live_tasks_on("nodeaaaaaaaa"),
        tx.pipeline("p"),
        tx.bundle("new"),
        tx.token("tok"),
        tx.user("alice"),
        tx.user("bob"),
        tx.answer("ops", "r"),
    )


async def test_an_operation_that_raises_leaves_nothing(there: OpenStore) -> None:
    await there.store.apply(_prepare)
    before = await there.store.apply(_snapshot)

    def bad(tx: Any) -> None:
        _everything(tx)
        raise KeyError("no")

    # In one batch with good ones on both sides.
    good, failed, also = await asyncio.gather(
        there.store.apply(lambda tx: tx.emit([NewEvent("a")])),
        there.store.apply(bad),
        there.store.apply(lambda tx: tx.emit([NewEvent("b")])),
        return_exceptions=True,
    )
    assert (good, also) == (None, None)
    assert isinstance(failed, KeyError)
    assert await there.store.apply(_snapshot) == before
    assert [event.type for event in await there.events()] == ["a", "b"]
    assert there.effects == []
    assert await there.store.read(queries.list_audit) == []


async def test_a_batch_that_cannot_be_stored_is_tried_one_by_one(there: OpenStore) -> None:
    await there.store.apply(_prepare)

    def unstorable(tx: Any) -> None:
        tx.put_task(a_task("t9", "no-such-run"))  # its run is missing, which the database finds out at the flush

    results = await asyncio.gather(
        there.store.apply(lambda tx: tx.put_meta("a", "1")),
        there.store.apply(unstorable),
        there.store.apply(lambda tx: tx.put_meta("b", "2")),
        return_exceptions=True,
    )
    assert results[0] is None
    assert results[2] is None
    assert isinstance(results[1], Exception)
    assert await there.store.apply(lambda tx: (tx.meta("a"), tx.meta("b"), tx.task("t9"))) == ("1", "2", None)
    assert there.store.health == "ok"


# -- what follows a commit --------------------------------------------------------------------------------------------


async def test_events_and_effects_arrive_in_order_before_the_callers_hear(there: OpenStore) -> None:
    order: list[str] = []

    async def one(number: int) -> None:
        def operation(tx: Any) -> None:
            tx.emit([NewEvent("x", data={"n": str(number)}), NewEvent("y")])
            tx.effect(number)

        await there.store.apply(operation)
        assert number in there.effects
        order.append(f"told {number}")

    await asyncio.gather(*(one(number) for number in range(50)))
    assert there.effects == list(range(50))
    assert [what for kind, what in there.log if kind == "event"] == list(range(1, 101))
    assert order == [f"told {number}" for number in range(50)]
    events = await there.events()
    assert [event.cursor for event in events] == list(range(1, 101))
    assert [event.data["n"] for event in events if event.type == "x"] == [str(n) for n in range(50)]


async def test_the_view_follows_before_the_caller_hears(there: OpenStore) -> None:
    await there.store.apply(_prepare)
    await there.store.apply(_everything)
    view = there.store.view
    assert view.node("n1") == a_node("n1", "one", session_epoch=2)
    assert view.node("n3") is None
    assert view.run("r1") == a_run("r1", note="new")
    assert [task.fence for task in view.tasks_of("r1")] == [2, 1]
    assert view.pipelines["p"].version == 2


async def test_events_keep_what_they_were_made_of(there: OpenStore) -> None:
    started = TaskEvent("t1", 3, 17.5, TaskStarted())
    new = NewEvent("task.started", "n1", "r1", "t1", "s", 3, "agent", {"k": "v"}, started, 17.5)
    await there.store.apply(lambda tx: tx.emit([new]))
    (event,) = (await there.store.read(queries.list_events)).events
    assert event == (await there.events())[0]
    assert (event.cursor, event.time, event.type, event.fence, event.actor) == (1, 17.5, "task.started", 3, "agent")
    assert event.task_event.WhichOneof("body") == "started"


async def test_effects_without_a_write_arrive_too(there: OpenStore) -> None:
    await there.store.apply(lambda tx: tx.effect("ack"))
    assert there.effects == ["ack"]


async def test_audit_rows_are_chained(there: OpenStore) -> None:
    for outcome in ("ok", "permission_denied", "ok"):
        record = NewAudit("ops", "RunPipeline", "r1", outcome, '{"note":"ünï"}', "socket", "why")
        await there.store.apply(lambda tx, record=record: tx.audit(record))
    rows = await there.store.read(queries.audit_rows)
    prev = GENESIS
    for number, row in enumerate(rows, 1):
        assert (row.seq, row.prev) == (number, prev)
        assert row.mac == chain_mac(AUDIT_KEY, prev, canonical(row))
        assert row.mac != chain_mac(AUDIT_KEY, prev, canonical(replace(row, outcome="edited")))
        prev = row.mac
    assert len(rows) == 3


async def test_time_never_goes_back(there: OpenStore) -> None:
    first = await there.store.apply(lambda tx: tx.now)
    there.clock.time -= 86_400
    assert await there.store.apply(lambda tx: tx.now) >= first


# -- across a restart -------------------------------------------------------------------------------------------------


async def test_a_store_that_is_opened_again_goes_on(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", ManualClock()
    async with opened(path, clock=clock) as there:
        await there.store.apply(_prepare)
        await there.store.apply(_everything)
        await there.store.apply(lambda tx: tx.put_run(a_run("r0", created_at=1.0, state=RunState.SUCCEEDED)))
        before = await there.store.apply(_snapshot)
        (audited,) = await there.store.read(queries.audit_rows)
    async with opened(path, clock=ManualClock(clock.time - 1000)) as there:
        assert await there.store.apply(_snapshot) == before
        assert await there.store.apply(lambda tx: tx.now) == clock.time
        assert [run.id for run in there.store.view.live_runs()] == ["r1", "r2"]
        assert [task.id for task in there.store.view.tasks_of("r1")] == ["t1", "t2"]
        assert (await there.store.apply(lambda tx: tx.run("r0"))).state is RunState.SUCCEEDED
        await there.store.apply(doing(lambda tx: tx.emit([NewEvent("x")]), lambda tx: tx.audit(NewAudit(*"abcdef"))))
        assert [event.cursor for event in await there.events()] == [1, 2]
        rows = await there.store.read(queries.audit_rows)
        assert [(row.seq, row.prev) for row in rows] == [(1, GENESIS), (2, audited.mac)]


async def test_cursors_and_audit_numbers_are_never_given_again(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "store.db"
    async with opened(path) as there:
        for _ in range(3):
            await there.store.apply(
                doing(lambda tx: tx.emit([NewEvent("x")]), lambda tx: tx.audit(NewAudit(*"abcdef")))
            )
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM events")
    connection.execute("DELETE FROM audit WHERE seq > 1")
    connection.commit()
    connection.close()
    async with opened(path) as there:
        await there.store.apply(doing(lambda tx: tx.emit([NewEvent("x")]), lambda tx: tx.audit(NewAudit(*"abcdef"))))
        assert [event.cursor for event in (await there.store.read(queries.list_events)).events] == [4]
        assert [row.seq for row in await there.store.read(queries.audit_rows)] == [1, 4]
