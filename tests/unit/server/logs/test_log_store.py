"""Logs as they arrive: in any order the network makes of them, on disks that fill up, across restarts and kills."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogHole, LogSummary
from gamenode_proto.logfile import LogReader, LogWriter
from gamenode_server.logs import LogRef, LogStatus, LogStore, log_store
from gamenode_server.logs.files import Received, path_of
from support.waiting import until

#: From mount(2): change the options of what is mounted.
MS_REMOUNT = 32

REF = LogRef("runaaaaaaaaa", "taskaaaaaaaa", 1, "build", 1)


@asynccontextmanager
async def _open(folder: Path, **options: float) -> AsyncIterator[tuple[LogStore, list[LogRef]]]:
    changed: list[LogRef] = []
    logs = LogStore(folder, on_change=changed.append, **{"sync_interval": 0.01, **options})  # type: ignore[arg-type]
    try:
        yield logs, changed
    finally:
        await logs.close()


def _summary(data: bytes, *holes: LogHole) -> LogSummary:
    lines = data.count(b"\n") + (data[-1:] not in (b"", b"\n"))
    return LogSummary(lines, len(data), sha256(data).hexdigest(), holes)


async def _append(logs: LogStore, ref: LogRef, offset: int, data: bytes, time: float = 5.0) -> Received:
    return await logs.append(ref, offset, data, [(time, len(data), 1)] if data else [])


async def test_a_log_arrives_ends_and_is_proven_whole(tmp_path: Path) -> None:
    async with _open(tmp_path) as (logs, changed):
        assert await _append(logs, REF, 0, b"one\n") == Received(4)
        assert await logs.append(REF, 4, b"two\nthr", [(6.0, 4, 1), (7.0, 3, 2)]) == Received(11)
        assert logs.known(REF) == LogStatus(REF, bytes=11, lines=3)
        finished = await logs.finish(REF, _summary(b"one\ntwo\nthr"))
        assert (finished.rewind, finished.offset) == (False, 11)
        status = finished.status
        assert (status.ended, status.complete, status.lines, status.bytes) == (True, True, 3, 11)
        assert status.sha256 == sha256(b"one\ntwo\nthr").hexdigest()
        assert logs.known(REF) == status == await logs.status(REF)
        assert set(changed) == {REF}
        assert await logs.finish(REF, _summary(b"one\ntwo\nthr")) == finished  # asked again, the same again
        assert await _append(logs, REF, 4, b"two\n") == Received(8)  # repeated after its end: taken and dropped
        read = await logs.read(REF, 2, 7)
        assert (read.data, read.status.complete) == (b"e\ntwo\nt", True)
        assert [(chunk.time, chunk.offset, chunk.length, chunk.stream) for chunk in read.chunks] == [
            (5.0, 2, 2, 1),
            (6.0, 4, 4, 1),
            (7.0, 8, 1, 2),
        ]
    async with _open(tmp_path) as (logs, _):
        assert logs.known(REF) is None
        assert await logs.status(REF) == status
        assert await logs.logs_of(REF.run_id) == [REF]


async def test_repeats_and_gaps(tmp_path: Path) -> None:
    async with _open(tmp_path) as (logs, _):
        await _append(logs, REF, 0, b"abcdef")
        assert await _append(logs, REF, 0, b"abc") == Received(6)
        assert await _append(logs, REF, 3, b"defghi") == Received(9)
        assert await _append(logs, REF, 20, b"xyz") == Received(9, rewind=True)
        with pytest.raises(GameNodeError) as caught:
            await logs.append(REF, 9, b"abc", [(1.0, 2, 1)])
        assert caught.value.code is Code.PROTOCOL_ERROR
        assert (await logs.read(REF, 0)).data == b"abcdefghi"
        early = await logs.finish(REF, _summary(b"abcdefghijkl"))
        assert (early.rewind, early.offset) == (True, 9)
        await _append(logs, REF, 9, b"jkl")
        assert (await logs.finish(REF, _summary(b"abcdefghijkl"))).status.complete


async def test_any_order_of_uploads_comes_to_the_same(tmp_path: Path) -> None:
    choice = random.Random(7)
    data = bytes(choice.randrange(256) for _ in range(20_000))
    async with _open(tmp_path, open_logs=1) as (logs, _):
        other = LogRef("runaaaaaaaaa", "taskaaaaaaaa", 1, "other", 1)
        at = {REF: 0, other: 0}
        while min(at.values()) < len(data):
            ref = choice.choice((REF, other))
            offset = max(0, at[ref] + choice.randrange(-500, 300))
            piece = data[offset : offset + choice.randrange(1, 2000)]
            received = await _append(logs, ref, offset, piece)
            assert received.rewind == (offset > at[ref])
            at[ref] = received.offset
        for ref in at:
            assert (await logs.finish(ref, _summary(data))).status.complete
            assert path_of(tmp_path, ref).read_bytes() == data


async def test_bytes_that_differ_are_asked_for_once_more_and_then_named(tmp_path: Path) -> None:
    async with _open(tmp_path) as (logs, _):
        await _append(logs, REF, 0, b"wrong")
        again = await logs.finish(REF, _summary(b"right"))
        assert (again.rewind, again.offset) == (True, 0)
        await _append(logs, REF, 0, b"right")
        assert (await logs.finish(REF, _summary(b"right"))).status.complete
        other = LogRef("runaaaaaaaaa", "taskaaaaaaaa", 1, "other", 1)
        for _ in range(2):
            await _append(logs, other, 0, b"wrong")
            last = await logs.finish(other, _summary(b"right"))
        assert (last.rewind, last.status.ended, last.status.complete) == (False, True, False)
        assert last.status.holes == (LogHole(0, 5, "lost"),)


async def test_a_log_without_output_leaves_no_file(tmp_path: Path) -> None:
    empty = _summary(b"")
    async with _open(tmp_path) as (logs, changed):
        assert (await logs.status(REF)).ended is False
        assert (await logs.finish(REF, LogSummary())).status.complete
        assert changed == [REF]
        assert list(tmp_path.iterdir()) == []
    async with _open(tmp_path) as (logs, _):
        assert (await logs.status(REF)).complete is False
    async with _open(tmp_path) as (logs, _):
        assert (await logs.status(REF, empty)).complete is True
        assert (await logs.read(REF, 0)).data == b""


async def test_holes_are_kept_by_name(tmp_path: Path) -> None:
    hole = LogHole(4, 1_000_000, "limit")
    async with _open(tmp_path) as (logs, _):
        await _append(logs, REF, 0, b"headtail")
        await logs.finish(REF, _summary(b"headtail", hole))
    async with _open(tmp_path) as (logs, _):
        status = await logs.status(REF)
        assert (status.complete, status.holes) == (True, (hole,))
        assert not status.whole
        assert not status.to_proto().complete, "not all that the step said is here"
        assert [h.reason for h in status.to_proto().holes] == ["limit"]


async def test_statuses_come_in_the_order_asked(tmp_path: Path) -> None:
    refs = [LogRef("r1", "t1", 1, f"s{n}", 1) for n in range(6)]
    async with _open(tmp_path) as (logs, _):
        for number in (0, 2, 4):
            await _append(logs, refs[number], 0, b"x" * (number + 1))
    async with _open(tmp_path) as (logs, _):
        await _append(logs, refs[5], 0, b"x")
        found = await logs.statuses({ref: LogSummary() if ref is refs[3] else None for ref in reversed(refs)})
        assert [status.ref for status in found] == refs[::-1]
        assert [status.bytes for status in found] == [1, 5, 0, 3, 0, 1]
        assert [status.complete for status in found] == [False, False, True, False, False, False]


async def test_where_to_begin(tmp_path: Path) -> None:
    async with _open(tmp_path) as (logs, _):
        for number in range(10):
            await _append(logs, REF, number * 2, f"{number}\n".encode(), time=100.0 + number)
        assert await logs.locate(REF) == 0
        assert await logs.locate(REF, tail=3) == 14
        assert await logs.locate(REF, since=105.0) == 10
        assert await logs.locate(REF, since=105.0, tail=100) == 10
        assert await logs.locate(REF, since=102.0, tail=2) == 16
        assert await logs.locate(REF, since=999.0) == 20
        assert await logs.locate(LogRef("no", "no", 1, "no", 1), since=1.0, tail=1) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        LogRef("..", "t", 1, "s", 1),
        LogRef("r", "../../etc", 1, "s", 1),
        LogRef("r", "t", 1, "a/b", 1),
        LogRef("r", "t", 1, "", 1),
        LogRef("r", "t", 1, "s\0", 1),
        LogRef("r", "t", 1, "s" * 200, 1),
        LogRef("r", "t", -1, "s", 1),
    ],
)
async def test_names_cannot_lead_elsewhere(tmp_path: Path, wrong: LogRef) -> None:
    async with _open(tmp_path / "logs") as (logs, _):
        with pytest.raises(GameNodeError) as caught:
            await _append(logs, wrong, 0, b"x")
        assert caught.value.code is Code.INVALID_ARGUMENT
        with pytest.raises(GameNodeError):
            await logs.read(wrong, 0)
        with pytest.raises(GameNodeError, match="negative"):
            await logs.read(REF, -1)
    assert list((tmp_path / "logs").rglob("*")) == []


# -- promptness and room ----------------------------------------------------------------------------------------------


async def test_followers_hear_before_the_disk_and_the_end_does_not_wait(tmp_path: Path) -> None:
    async with _open(tmp_path, sync_interval=5.0) as (logs, changed):
        await _append(logs, REF, 0, b"a")  # the first one is synced at once
        answer = await logs.offer(REF, 1, b"b", [(1.0, 1, 1)])
        await until(lambda: len(changed) == 2, every=0.001, what="the follower to hear")
        assert not answer.done()
        assert (await logs.read(REF, 0)).data == b"ab"
        async with asyncio.timeout(2):
            assert (await logs.finish(REF, _summary(b"ab"))).status.complete
        assert answer.result() == Received(2)


async def test_uploads_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "PENDING_BYTES", 10_000)
    async with _open(tmp_path) as (logs, _):
        most = 0

        async def upload(offset: int) -> Received:
            nonlocal most
            answer = await logs.offer(REF, offset, b"x" * 1000, [(1.0, 1000, 1)])
            most = max(most, logs._pending)
            return await answer

        async with asyncio.TaskGroup() as group:
            uploads = [group.create_task(upload(number * 1000)) for number in range(100)]
        assert [upload.result() for upload in uploads] == [Received((n + 1) * 1000) for n in range(100)]
        assert 10_000 <= most <= 11_000


async def test_more_logs_than_may_be_open(tmp_path: Path) -> None:
    refs = [LogRef("r1", f"t{n}", 1, "s", 1) for n in range(20)]
    async with _open(tmp_path, open_logs=3) as (logs, _):
        for round_ in range(3):
            await asyncio.gather(*(_append(logs, ref, round_ * 4, b"abc\n") for ref in refs))

        def few() -> bool:  # those above the limit are closed once they are synced
            return len(_open_below(tmp_path)) <= 6

        await until(few, seconds=5.0, what="the surplus logs to be closed")
        for ref in refs:
            assert (await logs.finish(ref, _summary(b"abc\n" * 3))).status.complete
        assert not _open_below(tmp_path)


def _open_below(folder: Path) -> list[str]:
    paths = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in paths if path.startswith(f"{folder}/")]


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with _open(tmp_path) as (logs, _):
        answer = await logs.offer(REF, 0, b"x", [(1.0, 1, 1)])
    assert answer.result() == Received(1)  # what was handed in was finished
    with pytest.raises(GameNodeError, match="closed"):
        await _append(logs, REF, 1, b"y")


# -- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 1 MB of its own, where this user may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip("mounting a file system needs root")
    yield folder
    assert libc.umount(os.fsencode(folder)) == 0


async def test_a_full_disk_acknowledges_nothing_and_heals(tiny_disk: Path) -> None:
    data, at = b"x" * 50_000, 0
    async with _open(tiny_disk) as (logs, _):
        refused: GameNodeError | None = None
        while refused is None:
            try:
                at = (await _append(logs, REF, at, data)).offset
            except GameNodeError as error:
                refused = error
        assert refused.code is Code.STORAGE_FULL
        assert logs.problem is not None
        assert at >= 15 * 50_000
        with LogReader(path_of(tiny_disk, REF)) as reader:
            assert reader.size == at  # nothing of what was refused
        with pytest.raises(GameNodeError):
            await _append(logs, LogRef("r2", "t", 1, "s", 1), 0, data * 4)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(None, os.fsencode(tiny_disk), None, MS_REMOUNT, b"size=4m") == 0
        assert (await _append(logs, REF, at, data)).offset == at + 50_000
        assert logs.problem is None
        assert (await logs.finish(REF, _summary(b"x" * (at + 50_000)))).status.complete


UPLOADER = """
import asyncio, os, sys
from pathlib import Path
from gamenode_server.logs import LogRef, LogStore

async def main():
    logs = LogStore(Path(sys.argv[1]), on_change=lambda ref: None, sync_interval=0.02)
    async def upload(name):
        ref, offset = LogRef("r1", "t1", 1, name, 1), 0
        while True:
            data = b"".join(b"%06d\\n" % (offset // 7 + n) for n in range(9))
            offset = (await logs.append(ref, offset, data, [(1.0, len(data), 1)])).offset
            os.write(1, b"%s %d\\n" % (name.encode(), offset))
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(upload(f"s{number}"))

asyncio.run(main())
"""


async def test_a_killed_server_has_every_byte_it_acknowledged(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", UPLOADER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(60)]
    process.send_signal(signal.SIGKILL)
    lines += process.communicate()[0].splitlines(keepends=True)
    acked = {name.decode(): int(offset) for name, offset in (line.split() for line in lines if line.endswith(b"\n"))}
    assert len(acked) == 5
    async with _open(tmp_path) as (logs, _):
        for name, offset in acked.items():
            ref = LogRef("r1", "t1", 1, name, 1)
            size = (await logs.status(ref)).bytes
            assert size >= offset
            content = b"".join(b"%06d\n" % n for n in range(size // 7 + 1))[:size]
            assert (await logs.read(ref, 0)).data == content
            assert (await _append(logs, ref, size, b"end")).offset == size + 3
            assert (await logs.finish(ref, _summary(content + b"end"))).status.complete


async def test_removing_runs(tmp_path: Path) -> None:
    gone, kept = LogRef("r1", "t", 1, "s", 1), LogRef("r2", "t", 1, "s", 1)
    async with _open(tmp_path) as (logs, _):
        for ref in (gone, kept):
            await _append(logs, ref, 0, b"x" * 5000)
        usage = {logs.run_id: logs.bytes for logs in await logs.usage()}
        assert set(usage) == {"r1", "r2"}
        assert usage["r1"] >= 5000
        await logs.remove_runs(["r1", "never-was"])
        assert [entry.name for entry in tmp_path.iterdir()] == ["r2"]
        assert logs.known(gone) is None
        assert (await _append(logs, kept, 5000, b"y")).offset == 5001
        assert (await _append(logs, gone, 0, b"y")).offset == 1  # a new log of the same name begins anew


async def test_a_disk_that_fails_while_many_logs_are_open_is_told_to_every_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: LogWriter) -> None:
        raise OSError(errno.EIO, "Input/output error")

    refs = [LogRef("runaaaaaaaaa", f"task{number}", 1, "build", 1) for number in range(5)]
    async with _open(tmp_path, open_logs=1) as (logs, _), asyncio.timeout(5):
        with monkeypatch.context() as context:
            context.setattr(LogWriter, "sync", broken)
            told = await asyncio.gather(*(_append(logs, ref, 0, b"x") for ref in refs), return_exceptions=True)
        assert [getattr(error, "code", error) for error in told] == [Code.STORAGE_FULL] * len(refs)
        for ref in refs:
            assert await _append(logs, ref, 0, b"x") == Received(1)


async def test_the_end_of_a_log_is_acknowledged_once_it_is_on_the_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with _open(tmp_path) as (logs, _):
        await _append(logs, REF, 0, b"one\n")
        with monkeypatch.context() as context:
            context.setattr(os, "fsync", broken)
            with pytest.raises(GameNodeError, match="could not be written"):
                await logs.finish(REF, _summary(b"one\n"))
        assert (await logs.finish(REF, _summary(b"one\n"))).status.complete
