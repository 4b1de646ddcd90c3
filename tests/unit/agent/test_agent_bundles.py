"""No task is taken whose bundle would be missing when the agent comes back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from gamenode_agent.journal import Attempt, Entry, Journal, StorageFull
from gamenode_agent.runner.bundles import Bundles
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_proto.codec.plan import bundle_bytes

DATA = bundle_bytes(Plan("p", 1, (StepPlan("a", "run"),)))
DIGEST = sha256(DATA).hexdigest()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    await journal.close()


async def fetch(digest: str, _task_id: str) -> bytes:
    assert digest == DIGEST
    return DATA


async def test_a_bundle_that_was_dropped_is_fetched_again_though_it_is_in_memory(journal: Journal) -> None:
    bundles = Bundles(journal, fetch)
    assert bundles.at_hand(DIGEST, DATA) is not None
    storing = journal.submit(Entry(at=1.0, bundle=(DIGEST, DATA)))
    assert bundles.at_hand(DIGEST, b"") is not None  # whatever is handed in now is stored behind it
    await storing
    await journal.tidy(acked=0, older_than=9.0, max_bytes=0, keep=frozenset())
    assert bundles.at_hand(DIGEST, b"") is None
    bundle, data = await bundles.get(DIGEST, "task")
    assert (bundle.plan.pipeline, data) == ("p", DATA)
    assert bundles.needs_storing(DIGEST)


async def test_what_a_housekeeping_under_way_may_drop_is_not_counted_on(journal: Journal) -> None:
    await journal.commit(Entry(at=1.0, bundle=(DIGEST, DATA)))
    async with asyncio.TaskGroup() as group:
        for keep, held in ((frozenset({DIGEST}), True), (frozenset[str](), False)):
            tidying = group.create_task(journal.tidy(acked=0, older_than=9.0, max_bytes=0, keep=keep))
            await asyncio.sleep(0)
            assert journal.has_bundle(DIGEST) is held
            await tidying
            assert journal.has_bundle(DIGEST) is held


async def test_housekeeping_that_fails_changes_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    await journal.commit(Entry(at=1.0, bundle=(DIGEST, DATA)))
    journal.drop_later(Attempt("t", 1, "a", 1))

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("gamenode_agent.journal_file.drop_old_records", full)
        with pytest.raises(StorageFull):
            await journal.tidy(acked=0, older_than=9.0, max_bytes=0, keep=frozenset())
    assert journal.pending_drops == 1
    assert journal.has_bundle(DIGEST)
