"""Promise 30: a row that is edited, deleted, inserted, or cut off the end is named."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.audit.checkpoints import Checkpoint, append_checkpoint, read_checkpoints
from gamenode_server.audit.ledger import Ledger
from gamenode_server.audit.verify import ChainWalk, Verification
from gamenode_server.records import NewAudit
from gamenode_server.store.audit_chain import GENESIS, AuditRow, canonical, chain_mac
from support.stores import opened
from support.waiting import until

KEY = b"k" * 32


def chain(count: int, *, key: bytes = KEY) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for seq in range(1, count + 1):
        prev = rows[-1].mac if rows else GENESIS
        row = AuditRow(seq, 1.5 * seq, "root", "RunPipeline", f"run {seq}", "ok", '{"ä":"é"}', "unix", "", prev, "")
        rows.append(replace(row, mac=chain_mac(key, prev, canonical(row))))
    return rows


def walk(rows: Sequence[AuditRow], *, marks: Sequence[Checkpoint] = (), expected: int = 0) -> Verification:
    chained = ChainWalk(KEY, checkpoints=marks)
    for start in range(0, len(rows), 3):  # pages
        if not chained.feed(rows[start : start + 3]):
            break
    return chained.finish(expected=expected)


def mark(row: AuditRow) -> Checkpoint:
    return Checkpoint(row.seq, row.mac, row.time)


def test_an_untouched_log_is_intact() -> None:
    rows = chain(10)
    assert walk(rows, marks=[mark(rows[3]), mark(rows[9])]) == Verification(10)
    assert walk([]).intact


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "nobody"},
        {"method": "GetRun"},
        {"target": "x"},
        {"outcome": "permission_denied"},
        {"request": "{}"},
        {"source": "x"},
        {"reason": "x"},
        {"time": 7.0},
        {"mac": "0" * 64},
        {"prev": "0" * 64},
    ],
)
def test_an_edited_row_is_named_whatever_was_edited(change: dict[str, object]) -> None:
    rows = chain(10)
    rows[4] = replace(rows[4], **change)  # type: ignore[arg-type]
    found = walk(rows)
    assert not found.intact
    assert found.broken_at == 5
    assert found.records == 4


def test_a_deleted_row_is_named() -> None:
    rows = chain(10)
    assert walk([*rows[:4], *rows[5:]]).broken_at == 5
    assert walk(rows[1:]).broken_at == 1


def test_rows_that_were_renumbered_or_exchanged_are_named() -> None:
    rows = chain(10)
    closed_up = [*rows[:4], *(replace(row, seq=row.seq - 1) for row in rows[5:])]
    assert walk(closed_up).broken_at == 5
    exchanged = [*rows[:3], replace(rows[4], seq=4), replace(rows[3], seq=5), *rows[5:]]
    assert walk(exchanged).broken_at == 4
    assert walk([*rows[:5], rows[4], *rows[5:]]).broken_at == 6


def test_a_log_rewritten_with_another_key_is_named() -> None:
    assert walk(chain(5, key=b"x" * 32)).broken_at == 1


def test_a_tail_that_was_cut_contradicts_a_checkpoint_or_the_stores_count() -> None:
    rows = chain(10)
    assert walk(rows[:7]).intact  # nothing in the rows themselves can tell
    cut = walk(rows[:7], marks=[mark(rows[8])])
    assert cut.broken_at == 8
    assert "8 to 9 are missing" in cut.problem
    assert walk(rows[:7], expected=8).problem.startswith("row 8 is missing")


def test_a_log_rewritten_with_the_right_key_contradicts_a_checkpoint() -> None:
    rows, other = chain(10), chain(10)
    other[2] = replace(other[2], target="other")
    rewritten = [*other[:2]]
    for row in other[2:]:
        fresh = replace(row, prev=rewritten[-1].mac)
        rewritten.append(replace(fresh, mac=chain_mac(KEY, fresh.prev, canonical(fresh))))
    assert walk(rewritten).intact
    assert walk(rewritten, marks=[mark(rows[5])]).broken_at == 6


def test_checkpoints_are_signed_and_a_cut_line_is_skipped(tmp_path: Path) -> None:
    path, key = tmp_path / "audit.checkpoints", Ed25519PrivateKey.generate()
    assert read_checkpoints(path, key.public_key()) == ()
    marks = [mark(row) for row in chain(3)]
    for one in marks:
        append_checkpoint(path, one, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_checkpoints(path, key.public_key()) == tuple(marks)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert read_checkpoints(path, key.public_key()) == tuple(marks[:2])
    path.write_bytes(whole.replace(b'"seq": 2', b'"seq": 1'))
    with pytest.raises(GameNodeError, match=":2: this checkpoint is not signed") as caught:
        read_checkpoints(path, key.public_key())
    assert caught.value.code is Code.INTEGRITY_FAILED


def test_a_mark_that_a_full_disk_cut_short_spoils_none_after_it(tmp_path: Path) -> None:
    path, key = tmp_path / "audit.checkpoints", Ed25519PrivateKey.generate()
    rows = chain(3)
    for row in rows[:2]:
        append_checkpoint(path, mark(row), key)
    path.write_bytes(path.read_bytes()[:-20])
    assert read_checkpoints(path, key.public_key()) == (mark(rows[0]),)
    append_checkpoint(path, mark(rows[2]), key)
    assert read_checkpoints(path, key.public_key()) == (mark(rows[0]), mark(rows[2]))


async def test_a_database_that_cannot_be_read_does_not_end_the_marking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "store.db") as there:
        await there.store.apply(lambda tx: tx.audit(NewAudit("ops", "RunPipeline", "r1", "ok", "{}", "unix")))
        path = tmp_path / "audit.checkpoints"
        ledger = Ledger(there.store, key=KEY, signer=Ed25519PrivateKey.generate(), checkpoints=path)
        (tmp_path / "store.db").rename(tmp_path / "away")
        async with asyncio.TaskGroup() as group:
            marking = group.create_task(ledger.keep_marking(0.01))
            await until(lambda: "could not be marked" in caplog.text, every=0.01, what="a mark that fails")
            (tmp_path / "away").rename(tmp_path / "store.db")
            await until(path.exists, every=0.01, what="a mark")
            marking.cancel()
