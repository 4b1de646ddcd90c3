"""What the store promises about disks and sudden ends, against real processes and a real full file system."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store import engine, queries
from gamenode_server.store.audit_chain import GENESIS, canonical, chain_mac
from support.stores import AUDIT_KEY, a_run, a_task, opened
from support.waiting import until

#: Creates runs from many callers and prints the id of each once it is told that it is stored.
WRITER = """
import asyncio, os, sys
from support.stores import opened, a_run, a_task
from gamenode_server.records import NewAudit, NewEvent

async def main():
    async with opened(sys.argv[1]) as there:
        async def caller(name):
            number = 0
            while True:
                number += 1
                run_id = f"{name}n{number}"
                def operation(tx):
                    tx.put_run(a_run(run_id))
                    tx.put_task(a_task("t" + run_id, run_id))
                    tx.emit([NewEvent("run.created", run_id=run_id), NewEvent("run.started", run_id=run_id)])
                    tx.audit(NewAudit("ops", "RunPipeline", run_id, "ok", "{}", "socket"))
                await there.store.apply(operation)
                os.write(1, (run_id + "\\n").encode())
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(caller(f"{sys.argv[2]}c{number}"))

asyncio.run(main())
"""


def _writer(path: Path, name: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **env},
    )


async def _whole(path: Path, told: list[str]) -> int:
    """Checks that everything a caller was told of is there, whole, once; answers with how many runs there are."""
    async with opened(path) as there:
        events = await there.events()
        assert [event.cursor for event in events] == list(range(1, len(events) + 1))
        by_run: dict[str, list[str]] = {}
        for event in events:
            by_run.setdefault(event.run_id, []).append(event.type)
        runs = {run.id for run in there.store.view.live_runs()}
        assert set(told) <= runs
        assert by_run == {run_id: ["run.created", "run.started"] for run_id in runs}
        assert all([task.id for task in there.store.view.tasks_of(run_id)] == ["t" + run_id] for run_id in runs)
        audited: list[str] = []
        prev = GENESIS
        while rows := await there.store.read(queries.audit_rows, after=len(audited)):
            for row in rows:
                assert row.mac == chain_mac(AUDIT_KEY, prev, canonical(row))
                prev = row.mac
                audited.append(row.target)
        assert sorted(audited) == sorted(runs)
    return len(runs)


async def test_a_killed_writer_keeps_everything_it_answered(tmp_path: Path) -> None:
    path, told = tmp_path / "store.db", list[str]()
    for number in range(3):
        process = _writer(path, f"p{number}")
        assert process.stdout is not None
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(150 + 70 * number)]
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        text = b"".join(lines) + rest
        told += text[: text.rfind(b"\n") + 1].decode().split()
    assert await _whole(path, told) >= len(told) >= 600


@pytest.mark.parametrize("failpoint", ["store.flush", "store.commit", "store.committed"])
async def test_killed_at_each_point_of_a_commit(tmp_path: Path, failpoint: str) -> None:
    path = tmp_path / "store.db"
    process = _writer(path, "p", GAMENODE_FAILPOINTS=f"{failpoint}=kill:20")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    told = output.decode().split()
    assert await _whole(path, told) >= len(told) > 0


# -- full disks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 3 MB of its own, where this user may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=3m") != 0:
        pytest.skip("mounting needs root; the test with a file size limit covers the same code")
    yield folder
    still_open = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert libc.umount(os.fsencode(folder)) == 0, still_open


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_a_full_disk_refuses_everything_and_heals(tiny_disk: Path, busy: bool) -> None:
    path = tiny_disk / "store.db"
    stored: list[str] = []
    async with opened(path, idle_after=60.0 if busy else 0.1) as there:
        for number in range(3):
            await there.store.apply(lambda tx, n=number: tx.put_run(a_run(f"r{n}")))
            stored.append(f"r{number}")
        ballast = tiny_disk / "ballast"
        _fill(ballast)

        async def create(number: int) -> str:
            def operation(tx):  # type: ignore[no-untyped-def]
                tx.put_run(a_run(f"r{number}"))
                tx.put_task(a_task(f"t{number}", f"r{number}"))
                tx.emit([NewEvent("run.created", run_id=f"r{number}", data={"x": "y" * 20_000})])
                tx.effect(number)

            await there.store.apply(operation)
            return f"r{number}"

        results = await asyncio.gather(*(create(number) for number in range(10, 40)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        stored += [result for result in results if isinstance(result, str)]
        assert len(refused) > 20
        assert all(isinstance(error, GameNodeError) and error.code is Code.STORAGE_FULL for error in refused)
        assert there.store.health == "storage_full"
        # Nothing refused is anywhere: not in memory, not on the loop, not for readers, and no effect was carried out.
        assert [run.id for run in there.store.view.live_runs()] == stored
        assert [run.id for run in await there.store.apply(lambda tx: tx.live_runs())] == stored
        assert [run.id for run in (await there.store.read(queries.list_runs)).runs][::-1] == sorted(stored)
        assert len(there.effects) == len(stored) - 3

        ballast.unlink()
        async with asyncio.timeout(10):
            while busy and there.store.health != "ok":
                await there.store.apply(lambda tx: tx.live_runs())
                await asyncio.sleep(0.02)
            await there.store.writable()  # nobody writes: it finds out by itself
        assert there.store.health == "ok"
        assert await create(99) == "r99"
        stored.append("r99")
    async with opened(path) as there:
        assert sorted(run.id for run in there.store.view.live_runs()) == sorted(stored)


LIMITED = """
import asyncio, resource, signal, sys
from support.stores import opened, a_run
from gamenode_pipelines.errors import GameNodeError

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with opened(sys.argv[1], idle_after=0.05) as there:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
        stored = 0
        try:
            while True:
                await there.store.apply(lambda tx: tx.put_run(a_run(f"r{stored}", note="x" * 5000)))
                stored += 1
        except GameNodeError as error:
            print(error.code, there.store.health)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await asyncio.wait_for(there.store.writable(), 10)
        await there.store.apply(lambda tx: tx.put_run(a_run("last")))
        print(there.store.health, stored, len(there.store.view.live_runs()))

asyncio.run(main())
"""


def test_a_file_size_limit_is_a_full_disk_too(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    argv = [sys.executable, "-c", LIMITED, str(tmp_path / "store.db")]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)
    refused, healed = done.stdout.splitlines() or ["", done.stderr]
    assert refused == "storage_full storage_full", done.stderr
    health, stored, live = healed.split()
    assert health == "ok"
    assert int(live) == int(stored) + 1 > 10


async def test_a_failing_sync_makes_the_store_read_only(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as there:
        await there.store.apply(lambda tx: tx.put_run(a_run("r1")))

        def broken(tx):  # type: ignore[no-untyped-def]
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

        with pytest.raises(GameNodeError) as caught:
            await there.store.apply(broken)
        assert caught.value.code is Code.DATA_LOSS
        assert there.store.health == "read_only"
        with pytest.raises(GameNodeError, match="nothing was stored"):
            await there.store.apply(lambda tx: tx.put_run(a_run("r2")))
        page = await there.store.read(queries.list_runs)
        assert [run.id for run in page.runs] == ["r1"]


# -- files that are not ours ------------------------------------------------------------------------------------------


async def test_foreign_and_damaged_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("hello, this is no database")
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    damaged = tmp_path / "damaged.db"
    async with opened(damaged) as there:
        for number in range(50):
            await there.store.apply(lambda tx, n=number: tx.put_run(a_run(f"r{n}", note="x" * 500)))
    content = bytearray(damaged.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    damaged.write_bytes(content)
    for path, words in ((text, "not a GameNode"), (foreign, "not a GameNode"), (damaged, "damaged|cannot be written")):
        before = path.read_bytes()
        with pytest.raises(GameNodeError, match=words) as caught:
            async with opened(path):
                pass
        assert caught.value.code is Code.DATA_LOSS
        if path is not foreign:  # its journal mode is changed before it is known, nothing else
            assert path.read_bytes() == before


async def test_an_idle_store_makes_a_checkpoint_and_keeps_its_wal_for_the_next_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path, idle_after=0.05) as there:
        await there.store.apply(lambda tx: tx.audit(NewAudit("ops", "M", "t", "ok", "x" * 100_000, "s")))
        wal = path.with_name("store.db-wal")
        length = wal.stat().st_size
        assert length > 100_000
        await until(lambda: b"x" * 1000 in path.read_bytes(), every=0.02, what="a checkpoint")
        await there.store.apply(lambda tx: tx.put_meta("a", "b"))
        assert wal.stat().st_size == length
    assert not wal.exists()


async def test_a_checkpoint_that_finds_the_file_damaged_is_told_to_every_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object, **__: object) -> bool:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    async with opened(tmp_path / "store.db", idle_after=0.02) as there:
        await there.store.apply(lambda tx: tx.put_meta("a", "b"))
        monkeypatch.setattr(engine, "checkpoint", damaged)
        await until(lambda: there.store.health is engine.Health.READ_ONLY, every=0.02, what="the damage being noticed")
        async with asyncio.timeout(5):
            with pytest.raises(GameNodeError, match="cannot be written"):
                await there.store.apply(lambda tx: tx.put_meta("a", "c"))


async def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as there:

        def fails_at_commit(tx):  # type: ignore[no-untyped-def]
            tx.defer(sa.text("PRAGMA defer_foreign_keys=ON"))
            tx.put_task(a_task("t1", "no-such-run"))

        for _ in range(2):
            with pytest.raises(sa.exc.IntegrityError):
                await there.store.apply(fails_at_commit)
            await there.store.apply(lambda tx: tx.put_run(a_run("r1")))
        assert [run.id for run in (await there.store.read(queries.list_runs)).runs] == ["r1"]
