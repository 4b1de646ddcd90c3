"""Head and tail with the hole named, masked before a byte is written, and whole after a crash."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gamenode_agent.supervisor import output, records
from gamenode_agent.supervisor.masking import Masker
from gamenode_agent.supervisor.output import Output
from gamenode_proto.logfile import LogReader, LogWriter
from support.supervised import supervised


def _write(log: Output, total: int, piece: int = 10) -> bytes:
    data = b"".join(b"%08d\n" % n for n in range(total // 9 + 1))[:total]
    for at in range(0, total, piece):
        log.add(data[at : at + piece], 1 + at // piece % 2, float(at))
    return data


def _finish(log: Output) -> dict[str, object]:
    for _ in log.finish(9e9):
        pass
    summary = log.summary()
    log.close()
    return summary


def _holes(summary: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(int(offset), int(length), str(reason)) for offset, length, reason in summary["holes"]]


@pytest.mark.parametrize("total", [1, 499, 500, 501, 999, 1000])
def test_what_fits_is_kept_whole(tmp_path: Path, total: int) -> None:
    log = Output(str(tmp_path / "log"), 1000)
    data = _write(log, total)
    summary = _finish(log)
    assert (tmp_path / "log").read_bytes() == data
    assert (summary["bytes"], summary["holes"]) == (total, [])
    assert summary["sha256"] == hashlib.sha256(data).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.idx"]


@pytest.mark.parametrize("total", [1200, 5000, 123_456])
def test_of_more_the_head_and_the_tail_are_kept_and_the_hole_is_named(tmp_path: Path, total: int) -> None:
    log = Output(str(tmp_path / "log"), 1000)
    data = _write(log, total)
    assert log.size == 500
    summary = _finish(log)
    kept = (tmp_path / "log").read_bytes()
    offset, length, reason = _holes(summary)[0]
    assert (offset, reason) == (500, "limit")
    assert kept[:500] == data[:500]
    assert kept[500:] == data[500 + length :]
    assert 500 + 375 <= len(kept) <= 1000
    assert summary["sha256"] == hashlib.sha256(kept).hexdigest()
    with LogReader(tmp_path / "log") as reader:
        assert reader.holes() == ((offset, length, reason),)
        chunks = list(reader.chunks())
    # Times and streams are those of the reads.
    assert [c.time for c in chunks] == sorted(c.time for c in chunks)
    assert sum(c.length for c in chunks) == len(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.idx"]


def test_a_supervisor_that_died_leaves_a_log_that_can_be_put_together(tmp_path: Path) -> None:
    log = Output(str(tmp_path / "log"), 1000)
    data = _write(log, 5000)
    log.close()  # and nothing more: the process is gone
    summary = output.recover(str(tmp_path / "log"), 1.0)
    kept = (tmp_path / "log").read_bytes()
    limit, lost = _holes(summary)
    assert limit[2] == "limit"
    assert kept == data[:500] + data[500 + limit[1] :]
    assert lost == (len(kept), 0, "lost")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.idx"]
    assert output.recover(str(tmp_path / "none"), 1.0)["bytes"] == 0


def test_a_full_disk_is_a_hole_and_not_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Output(str(tmp_path / "log"), 10_000)
    log.add(b"before\n", 1, 1.0)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.add(b"lost one\n", 1, 2.0)
    log.add(b"lost two\n", 1, 3.0)
    monkeypatch.setattr(os, "write", real)
    log.add(b"after\n", 1, 4.0)
    summary = _finish(log)
    assert (tmp_path / "log").read_bytes() == b"before\nafter\n"
    assert summary["holes"] == [[7, 18, "disk_full"]]


def test_a_disk_that_stays_full_is_named_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Output(str(tmp_path / "log"), 10_000)

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.add(b"nowhere to go\n", 1, 2.0)
    assert _finish(log)["holes"] == [[0, 14, "disk_full"]]


def test_logs_leave_the_last_of_the_disk_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Output(str(tmp_path / "log"), 1 << 20)
    block = 4096
    free = 10_000
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_blocks=1 << 20, f_frsize=block))
    log.add(b"x" * 70_000, 1, 1.0)
    free = (8 << 20) // block  # what is left to others
    log.add(b"y" * (256 << 10), 1, 2.0)
    log.add(b"z" * 10, 1, 3.0)
    free = 10_000
    log.add(b"after", 1, 4.0)
    summary = _finish(log)
    assert (tmp_path / "log").read_bytes() == b"x" * 70_000 + b"after"
    assert summary["holes"] == [[70_000, (256 << 10) + 10, "disk_full"]]


def test_evidence_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, _data: 3)
    with pytest.raises(OSError, match="No space"):
        records.create(str(tmp_path), {"boot_id": "b"})
    monkeypatch.undo()
    assert records.read(str(tmp_path)).evidence is None
    os.close(records.create(str(tmp_path), {"boot_id": "b"}))
    assert records.read(str(tmp_path)).evidence == {"boot_id": "b"}
    with pytest.raises(FileExistsError):
        records.create(str(tmp_path), {"boot_id": "b"})


def test_no_file_is_made_for_nothing(tmp_path: Path) -> None:
    log = Output(str(tmp_path / "log"), 1000)
    assert _finish(log) == {"lines": 0, "bytes": 0, "sha256": hashlib.sha256().hexdigest(), "holes": []}
    assert list(tmp_path.iterdir()) == []


def test_the_builtin_hash_is_sha256(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", digest=output._sha256) as log:
        log.append(b"abc", 1, 1.0)
        assert log.sha256() == hashlib.sha256(b"abc").hexdigest()


SECRETS = [b"hunter2", b"hunter2hunter2", b"aab", b"x"]


@pytest.mark.parametrize("seed", range(30))
def test_a_secret_is_masked_wherever_the_reads_split_it(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [*SECRETS[:3], b"hunt", b"er", b"a", b"aa", b"ab", b"plain\n", b"h", b"2"]
    data = b"".join(rng.choice(pieces) for _ in range(60))
    whole = Masker(SECRETS[:3])
    expected = whole.feed(data) + whole.end()
    masker, got, at = Masker(SECRETS[:3]), b"", 0
    while at < len(data):
        size = rng.randrange(1, 9)
        got += masker.feed(data[at : at + size])
        at += size
    got += masker.end()
    assert got == expected
    assert not any(secret in got for secret in SECRETS[:3])


def test_only_what_may_be_a_secret_is_held_back() -> None:
    masker = Masker([b"secret"])
    assert masker.feed(b"Password: ") == b"Password: "
    assert masker.feed(b"it is sec") == b"it is "
    assert masker.feed(b"ond") == b"second"
    assert masker.feed(b"secret") == b"***"
    assert masker.feed(b"s") == b""
    assert masker.end() == b"s"


def test_long_secrets_are_found_quickly() -> None:
    secret = bytes(random.Random(1).randrange(32, 127) for _ in range(8000))
    masker = Masker([secret, b"other"])
    got = b"".join(masker.feed((b"." * 30_000 + secret)[at : at + 4096]) for at in range(0, 38_000, 4096))
    assert got + masker.end() == b"." * 30_000 + b"***"


async def test_a_secret_reaches_no_file(tmp_path: Path) -> None:
    async with supervised(tmp_path) as host:
        report = await host.run(
            "printf 'token=hun'; sleep 0.05; echo ter2; echo hunter2 >&2; echo $TOKEN",
            env={"TOKEN": "hunter2"},
            masks=(b"hunter2",),
        )
        assert sorted(host.log(report.key).splitlines()) == [b"***", b"***", b"token=***"]
        assert report.log is not None
        assert report.log.bytes == len(host.log(report.key))
        for path in tmp_path.rglob("*"):
            if path.is_file():
                assert b"hunter2" not in path.read_bytes()
