"""The journal keeps all of an entry or nothing, numbers records without a gap, and forgets only what may go."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gamenode_agent.journal import Attempt, AttemptRow, Entry, Journal, StorageFull, TaskRow
from gamenode_agent.journal_file import RESERVE
from gamenode_agent.outbox import Outbox
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.agent_link_pb2 import NodeEvent, OutboxRecord

KEY = Attempt("task", 1, "a", 1)


def record(text: str = "x") -> OutboxRecord:
    return OutboxRecord(node_event=NodeEvent(type="test", data={"text": text}))


def row(task_id: str = "task", *, ended: bool = False, at: float = 1.0, digest: str = "") -> TaskRow:
    return TaskRow(task_id, 1, "running", ended, digest, b"blob", at)


class Opened:
    def __init__(self, path: Path) -> None:
        self.records: list[OutboxRecord] = []
        self.journal = Journal(path)
        self.journal.on_records = self._on_records

    def _on_records(self, records: Sequence[OutboxRecord]) -> None:
        self.records += records


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    opened = Opened(tmp_path / "journal.db")
    yield opened
    await opened.journal.close()


async def reopened(tmp_path: Path) -> Opened:
    return Opened(tmp_path / "journal.db")


async def test_what_was_committed_is_there_after_a_reopening(tmp_path: Path, opened: Opened) -> None:
    entry = Entry(
        at=5.0,
        records=[record("one"), record("two")],
        task=row(at=5.0, digest="d"),
        attempts=[AttemptRow(KEY, "boot")],
        bundle=("d", b"bundle"),
        meta={"max_epoch": "3"},
    )
    await opened.journal.commit(entry)
    await opened.journal.close()
    again = await reopened(tmp_path)
    contents = again.journal.contents
    assert [(task.task_id, task.last_seq, task.task) for task in contents.tasks] == [("task", 2, b"blob")]
    assert contents.attempts == [AttemptRow(KEY, "boot")]
    assert (contents.outbox_first, contents.outbox_last, contents.newest) == (1, 2, 5.0)
    assert contents.meta["max_epoch"] == "3"
    assert await again.journal.bundle("d") == b"bundle"
    assert again.journal.has_bundle("d")
    assert [r.node_event.data["text"] for r in await again.journal.records(0, limit=9, max_bytes=999)] == ["one", "two"]
    await again.journal.close()


async def test_records_are_numbered_in_the_order_of_their_entries(opened: Opened) -> None:
    await asyncio.gather(*(opened.journal.commit(Entry(at=1.0, records=[record(str(i)), record()])) for i in range(50)))
    assert [r.seq for r in opened.records] == list(range(1, 101))
    assert [r.node_event.data["text"] for r in opened.records[::2]] == [str(i) for i in range(50)]


async def test_an_entry_that_fails_leaves_nothing_and_no_gap(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Entry(at=1.0, records=[record("bad")], attempts=[AttemptRow(KEY, None)])  # type: ignore[arg-type]
    good = Entry(at=1.0, records=[record("good")])
    results = await asyncio.gather(
        opened.journal.commit(good), opened.journal.commit(bad), opened.journal.commit(good), return_exceptions=True
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert (results[0], results[2]) == (None, None)
    stored = await opened.journal.records(0, limit=9, max_bytes=999)
    assert [(r.seq, r.node_event.data["text"]) for r in stored] == [(1, "good"), (2, "good")]


async def test_a_full_disk_is_said_and_heals(opened: Opened) -> None:
    db = sqlite3.connect(opened.journal.path)
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.close()
    await opened.journal._writer.apply(lambda tx: tx.connection.execute(f"PRAGMA max_page_count={pages}"))
    for _ in range(20):
        await opened.journal.commit(Entry(at=1.0, records=[record("there is room for what happens")]))
    big = Entry(at=1.0, records=[record("x" * 2 * RESERVE)])
    with pytest.raises(StorageFull):
        await opened.journal.commit(big)
    await opened.journal._writer.apply(lambda tx: tx.connection.execute("PRAGMA max_page_count=100000"))
    await opened.journal.commit(big)
    assert [r.seq for r in opened.records] == list(range(1, 22))


async def test_tidy_drops_only_what_is_acknowledged_and_old(opened: Opened) -> None:
    journal = opened.journal
    for at in (1.0, 2.0, 3.0, 4.0):
        entry = Entry(at=at, records=[record()], task=row(f"t{at:.0f}", ended=at < 3, at=at, digest=f"d{at:.0f}"))
        await journal.commit(Entry(at=at, bundle=(f"d{at:.0f}", b"x")))
        await journal.commit(entry)
    tidied = await journal.tidy(acked=3, older_than=10.0, max_bytes=1 << 20, keep=frozenset({"d1"}))
    assert tidied.first_seq == 4
    assert set(tidied.forgotten) == {"t1", "t2"}
    assert [journal.has_bundle(d) for d in ("d1", "d2", "d3", "d4")] == [True, False, True, True]
    assert [r.seq for r in await journal.records(0, limit=9, max_bytes=999)] == [4]


async def test_tidy_keeps_the_newest_acknowledged_records_up_to_a_size(opened: Opened) -> None:
    for _ in range(10):
        await opened.journal.commit(Entry(at=5.0, records=[record("x" * 1000)]))
    tidied = await opened.journal.tidy(acked=10, older_than=0.0, max_bytes=3500, keep=frozenset())
    assert tidied.first_seq == 8


async def test_an_emptied_outbox_goes_on_counting(tmp_path: Path, opened: Opened) -> None:
    await opened.journal.commit(Entry(at=1.0, records=[record(), record()]))
    await opened.journal.tidy(acked=2, older_than=10.0, max_bytes=0, keep=frozenset())
    await opened.journal.close()
    again = await reopened(tmp_path)
    assert (again.journal.contents.outbox_first, again.journal.contents.outbox_last) == (3, 2)
    await again.journal.commit(Entry(at=1.0, records=[record()]))
    assert [r.seq for r in again.records] == [3]
    await again.journal.close()


async def test_attempts_are_dropped_with_the_next_entry(tmp_path: Path, opened: Opened) -> None:
    await opened.journal.commit(Entry(at=1.0, attempts=[AttemptRow(KEY, "boot", True, b"log")]))
    told: list[Attempt] = []
    opened.journal.on_dropped = told.extend
    opened.journal.drop_later(KEY)
    assert (opened.journal.pending_drops, told) == (1, [])
    await opened.journal.commit(Entry(at=1.0))
    assert told == [KEY]
    await opened.journal.close()
    again = await reopened(tmp_path)
    assert again.journal.contents.attempts == []
    await again.journal.close()


async def test_the_file_is_its_owners_and_of_a_known_version(tmp_path: Path, opened: Opened) -> None:
    path = opened.journal.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await opened.journal.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(GameNodeError, match="newer agent") as caught:
        await reopened(tmp_path)
    assert caught.value.code is Code.VERSION_MISMATCH
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(GameNodeError) as caught:
        await reopened(tmp_path)
    assert caught.value.code is Code.DATA_LOSS


async def test_the_outbox_gives_batches_from_memory_and_from_the_file(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamenode_agent.outbox.CACHE_BYTES", 5000)
    monkeypatch.setattr("gamenode_agent.outbox.BATCH_BYTES", 2500)
    outbox = Outbox(opened.journal, outbox_id="o", first=1, last=0, acked=0)
    for _ in range(20):
        await opened.journal.commit(Entry(at=1.0, records=[record("x" * 1000)]))
        outbox.appended(opened.records[-1:])
    seen: list[int] = []
    while len(seen) < 20:
        batch = await outbox.batch(seen[-1] if seen else 0)
        assert 1 <= len(batch) <= 3
        seen += [r.seq for r in batch]
    assert seen == list(range(1, 21))
    assert outbox.depth == 20
    outbox.ack(18)
    outbox.ack(3)
    outbox.ack(1000)
    assert (outbox.acked, outbox.depth) == (20, 0)
    outbox.rewind(5)
    assert (await outbox.batch(5))[0].seq == 6


async def test_the_outbox_waits_for_what_is_new(opened: Opened) -> None:
    outbox = Outbox(opened.journal, outbox_id="o", first=1, last=0, acked=0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(outbox.batch(0))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        outbox.appended([OutboxRecord(seq=1)])
    assert [r.seq for r in waiting.result()] == [1]
