"""Lists, searches and names: what is found, in which order, and what a wrong word is told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_server.hub import EventFilter
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store import queries
from gamenode_server.store.names import resolve_node
from support.stores import OpenStore, a_node, a_pipeline, a_run, a_task, opened


@pytest.fixture
async def there() -> AsyncIterator[OpenStore]:
    async with opened() as found:
        yield found


@pytest.fixture
async def runs(there: OpenStore) -> OpenStore:
    """Ten runs, two of which began at the same time."""

    def operation(tx):  # type: ignore[no-untyped-def]
        for number in range(10):
            tx.put_run(
                a_run(
                    f"aaaa{number}aaaaaaa",
                    created_at=1000.0 + number - (number == 5),
                    pipeline="deploy" if number % 2 else "backup",
                    state=RunState.FAILED if number < 3 else RunState.RUNNING,
                )
            )

    await there.store.apply(operation)
    return there


def _numbers(page: queries.RunPage) -> list[int]:
    return [int(run.id[4]) for run in page.runs]


async def test_runs_come_newest_first_and_in_pages(runs: OpenStore) -> None:
    first = await runs.store.read(queries.list_runs, limit=4)
    assert (_numbers(first), first.more) == ([9, 8, 7, 6], True)
    second = await runs.store.read(queries.list_runs, limit=4, after=first.runs[-1].id)
    assert (_numbers(second), second.more) == ([5, 4, 3, 2], True)  # 4 and 5 began together: the higher id first
    third = await runs.store.read(queries.list_runs, limit=4, after=second.runs[-1].id)
    assert (_numbers(third), third.more) == ([1, 0], False)
    halves = await runs.store.read(queries.list_runs, limit=1, after="aaaa5aaaaaaa")
    assert _numbers(halves) == [4]


async def test_runs_by_state_and_pipeline(runs: OpenStore) -> None:
    assert _numbers(await runs.store.read(queries.list_runs, state="failed")) == [2, 1, 0]
    assert _numbers(await runs.store.read(queries.list_runs, state="failed", pipeline="deploy")) == [1]
    assert _numbers(await runs.store.read(queries.list_runs, pipeline="no-such")) == []
    assert await runs.store.read(queries.runs_by_state) == {"failed": 3, "running": 7}


async def test_when_runs_ended(there: OpenStore) -> None:
    def operation(tx):  # type: ignore[no-untyped-def]
        tx.put_run(a_run("r1"))
        tx.put_run(a_run("r2", state=RunState.FAILED, finished_at=7.0))
        tx.put_run(a_run("r3", state=RunState.SUCCEEDED, finished_at=8.0))

    await there.store.apply(operation)
    wanted = ["r1", "r2", "r3", *(f"no{number}" for number in range(1500))]
    ends = {"r2": (7.0, RunState.FAILED), "r3": (8.0, RunState.SUCCEEDED)}
    assert await there.store.read(queries.run_ends, wanted) == ends
    assert await there.store.read(queries.run_ends, ["r3"]) == {"r3": ends["r3"]}


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"state": "runing"}, Code.INVALID_ARGUMENT, "'runing' is not a state.*running"),
        ({"after": "nosuchrunaaa"}, Code.NOT_FOUND, "no run 'nosuchrunaaa'"),
    ],
)
async def test_wrong_words_are_told(runs: OpenStore, wrong: dict[str, str], code: Code, words: str) -> None:
    with pytest.raises(GameNodeError, match=words) as caught:
        await runs.store.read(queries.list_runs, **wrong)  # type: ignore[arg-type]
    assert caught.value.code is code


async def test_a_run_document_has_its_tasks_in_order(there: OpenStore) -> None:
    def operation(tx):  # type: ignore[no-untyped-def]
        tx.put_run(a_run("r1", note="hello"))
        for position in (1, 0):
            tx.put_task(a_task(f"t{position}", "r1", position=position))

    await there.store.apply(operation)
    document = await there.store.read(queries.run_document, "r1")
    assert document is not None
    assert (document.run.note, [task.id for task in document.tasks]) == ("hello", ["t0", "t1"])
    assert await there.store.read(queries.run_document, "r2") is None


async def test_names_of_runs(there: OpenStore) -> None:
    def operation(tx):  # type: ignore[no-untyped-def]
        for run_id in ("abcd22222222", "abcd33333333", "abce22222222", "zzzz77777777"):
            tx.put_run(a_run(run_id, pipeline="deploy"))

    await there.store.apply(operation)
    resolve = lambda text: there.store.read(queries.resolve_run, text)  # noqa: E731
    assert await resolve("abcd22222222") == "abcd22222222"
    assert await resolve("abce") == "abce22222222"
    assert await resolve("zzzz7777777") == "zzzz77777777"
    with pytest.raises(GameNodeError) as several:
        await resolve("abcd")
    assert several.value.code is Code.INVALID_ARGUMENT
    assert set(several.value.details["candidates"].split(", ")) == {"abcd22222222 (deploy)", "abcd33333333 (deploy)"}
    for none in ("abc", "abcdef", "zzzz7777777~", "zzzz%", "zzz_", "ZZZZ", "abcd22222222x"):
        with pytest.raises(GameNodeError) as caught:
            await resolve(none)
        assert caught.value.code is Code.NOT_FOUND, none
    with pytest.raises(GameNodeError, match="which run"):
        await resolve("")


def test_names_of_nodes() -> None:
    nodes = [
        a_node("abcd22222222", "eu-1"),
        a_node("abcd33333333", "eu-2"),
        a_node("zzzz77777777", "abcd22222222x"),
        a_node("yyyy77777777", "zzzz"),
    ]
    assert resolve_node(nodes, "abcd22222222").name == "eu-1"
    assert resolve_node(nodes, "eu-2").id == "abcd33333333"
    assert resolve_node(nodes, "zzzz").id == "yyyy77777777"  # a name goes before a prefix
    assert resolve_node(nodes, "zzzz7").id == "zzzz77777777"
    with pytest.raises(GameNodeError, match="could be any of") as several:
        resolve_node(nodes, "abcd")
    assert "abcd33333333 (eu-2)" in several.value.details["candidates"]
    with pytest.raises(GameNodeError, match="did you mean 'eu-1'") as near:
        resolve_node(nodes, "eu1")
    assert (near.value.code, near.value.details["suggestion"]) == (Code.NOT_FOUND, "eu-1")
    with pytest.raises(GameNodeError, match="no node"):
        resolve_node([], "eu-1")


async def test_events_by_filter_and_in_pages(there: OpenStore) -> None:
    base = there.clock.time
    for number in range(20):
        there.clock.time = base + number * 10
        kind = ("task.started", "tasks.moved", "task_x", "node.joined")[number % 4]
        event = NewEvent(kind, node_id=f"n{number % 2}", run_id=f"r{number % 3}")
        await there.store.apply(lambda tx, event=event: tx.emit([event]))

    async def cursors(after: int = 0, limit: int = 0, **only: object) -> list[int]:
        page = await there.store.read(queries.list_events, after=after, limit=limit, only=EventFilter(**only))  # type: ignore[arg-type]
        everything = [event async for batch in there.hub.subscribe(after=after, follow=False) for event in batch.events]
        expected = [e.cursor for e in everything if EventFilter(**only).matches(e)]  # type: ignore[arg-type]
        found = [event.cursor for event in page.events]
        assert found == expected[: limit or None]
        return found

    assert await cursors() == list(range(1, 21))
    assert await cursors(types=("task",)) == [1, 5, 9, 13, 17]
    assert await cursors(types=("task", "node.joined")) == [1, 4, 5, 8, 9, 12, 13, 16, 17, 20]
    assert await cursors(types=("tas%",)) == []
    assert await cursors(node_id="n1", run_id="r0") == [4, 10, 16]
    assert await cursors(since=base + 150) == [16, 17, 18, 19, 20]
    assert await cursors(since=base + 151, after=18) == [19, 20]
    assert await cursors(until=base + 15) == [1, 2]
    assert await cursors(since=base + 1000) == []
    page = await there.store.read(queries.list_events, after=5, limit=3)
    assert ([e.cursor for e in page.events], page.cursor, page.more, page.resync) == ([6, 7, 8], 8, True, False)
    last = await there.store.read(queries.list_events, after=5, only=EventFilter(run_id="no"))
    assert (list(last.events), last.cursor, last.more) == ([], 20, False)


async def test_since_is_found_by_bisection_also_over_gaps(there: OpenStore) -> None:
    import sqlalchemy as sa

    from gamenode_server.store import schema

    base = there.clock.time
    for number in range(60):
        there.clock.time = base + number
        # Something that happened long before it was stored does not count as new.
        event = NewEvent("x", time=base - 500 if number % 7 == 3 else 0.0)
        await there.store.apply(lambda tx, event=event: tx.emit([event]))
    gaps = sa.delete(schema.events).where(schema.events.c.cursor.between(10, 30))
    await there.store.apply(lambda tx: tx.defer(gaps))
    kept = [n for n in range(60) if not 10 <= n + 1 <= 30]
    for since in (0.5, 5.0, 9.0, 15.5, 30.0, 59.0, 60.0):
        page = await there.store.read(queries.list_events, only=EventFilter(since=base + since))
        expected = [n + 1 for n in kept if n >= since and n % 7 != 3]
        assert [event.cursor for event in page.events] == expected, since


async def test_audit_by_time_user_and_node(there: OpenStore) -> None:
    base = there.clock.time
    for number in range(6):
        there.clock.time = base + number
        record = NewAudit(f"user{number % 2}", "M", "n1" if number < 2 else "x", "ok", '{"node":"n2"}', "s")
        await there.store.apply(lambda tx, record=record: tx.audit(record))
    numbers = lambda rows: [row.seq for row in rows]  # noqa: E731
    assert numbers(await there.store.read(queries.list_audit)) == [1, 2, 3, 4, 5, 6]
    assert numbers(await there.store.read(queries.list_audit, limit=2)) == [5, 6]
    assert numbers(await there.store.read(queries.list_audit, since=base + 4)) == [5, 6]
    assert numbers(await there.store.read(queries.list_audit, user="user1")) == [2, 4, 6]
    assert numbers(await there.store.read(queries.list_audit, node="n1")) == [1, 2]
    assert numbers(await there.store.read(queries.list_audit, node="n2", limit=1)) == [6]


async def test_pipelines_with_their_last_run(there: OpenStore) -> None:
    def operation(tx):  # type: ignore[no-untyped-def]
        for version in (1, 2):
            tx.put_pipeline(a_pipeline("deploy", version))
        tx.put_pipeline(a_pipeline("backup", 1))
        tx.put_run(a_run("r1", created_at=1.0, pipeline="deploy"))
        tx.put_run(a_run("r2", created_at=2.0, pipeline="deploy"))

    await there.store.apply(operation)
    found = await there.store.read(queries.list_pipelines)
    assert [(s.pipeline.name, s.pipeline.version, s.last_run.id) for s in found] == [
        ("backup", 1, ""),
        ("deploy", 2, "r2"),
    ]
    assert not found[0].HasField("last_run")
