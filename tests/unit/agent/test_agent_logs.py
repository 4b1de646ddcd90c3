"""Shipping logs, against a server's end of the stream that a test plays itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gamenode_agent.journal import Attempt
from gamenode_agent.link.logs import LogLimits, LogShipper
from gamenode_proto.logfile import LogReader, LogWriter
from gamenode_proto.v1.agent_link_pb2 import LogAck, LogUpload
from gamenode_proto.v1.common_pb2 import AttemptRef, Error, LogSummary
from support.waiting import until

KEY = Attempt("task", 1, "a", 1)
OTHER = Attempt("other", 1, "a", 1)


class Stream:
    """The Logs call as the shipper sees it; `uploads` is what it sent."""

    def __init__(self) -> None:
        self.uploads: asyncio.Queue[LogUpload] = asyncio.Queue()
        self.acks: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, upload: LogUpload) -> None:
        await self.uploads.put(upload)

    async def read(self) -> Any:
        return await self.acks.get()

    async def done_writing(self) -> None:
        self.acks.put_nowait(grpc.aio.EOF)

    def cancel(self) -> None:
        pass

    async def sent(self) -> LogUpload:
        return await asyncio.wait_for(self.uploads.get(), 5)

    def ack(self, key: Attempt, **values: Any) -> None:
        self.acks.put_nowait(LogAck(ref=AttemptRef(**key._asdict()), **values))


class Shipping:
    """A shipper, the stream it was given last, and the logs it was done with."""

    def __init__(self) -> None:
        self.done: list[Attempt] = []
        self.stream = Stream()
        limits = LogLimits(chunk=4096, window=1 << 20, idle_close=5.0, slow=1.0, reconnect_max=0.01)
        self.shipper = LogShipper(limits=limits, on_done=self.done.append)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        yield self

    def Logs(self) -> Stream:
        return self.stream

    def connect(self) -> None:
        self.shipper.connected(self.opened)


@pytest.fixture
async def shipping() -> AsyncIterator[Shipping]:
    shipping = Shipping()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(shipping.shipper.run())
        yield shipping
        running.cancel()


def written(path: Path, data: bytes) -> Path:
    with LogWriter(path) as log:
        for at in range(0, len(data), 1000):
            log.append(data[at : at + 1000], 1, 1.0)
    return path


async def test_a_log_refused_while_its_attempt_runs_is_not_done_with(tmp_path: Path, shipping: Shipping) -> None:
    data = b"x" * 4000
    path = written(tmp_path / "log", data)
    shipping.connect()
    shipping.shipper.grown(KEY, path, 4000)
    assert (await shipping.stream.sent()).chunk.data == data
    shipping.stream.ack(KEY, refused=Error(code="not_found", message="there is no such task"))
    # The stream goes on for others, though what was refused is never acknowledged.
    other = written(tmp_path / "other", b"y" * 4000)
    shipping.shipper.grown(OTHER, other, 4000)
    assert (await shipping.stream.sent()).chunk.ref.task_id == "other"
    assert shipping.done == []
    shipping.shipper.grown(KEY, path, 4500)
    assert shipping.stream.uploads.empty()

    shipping.shipper.ended(KEY, path, LogSummary(bytes=4000))
    while not (await shipping.stream.sent()).HasField("end"):
        pass
    shipping.stream.ack(KEY, refused=Error(code="not_found", message="there is no such task"))
    await until(lambda: shipping.done == [KEY], every=0.005, what="the log to be given up")


async def test_a_log_refused_by_one_session_is_offered_to_the_next(tmp_path: Path, shipping: Shipping) -> None:
    path = written(tmp_path / "log", b"x" * 100)
    shipping.connect()
    shipping.shipper.grown(KEY, path, 100)
    await shipping.stream.sent()
    shipping.stream.ack(KEY, refused=Error(code="not_found", message="there is no such task"))
    shipping.shipper.grown(OTHER, path, 100)
    await shipping.stream.sent()
    shipping.connect()
    shipping.shipper.grown(KEY, written(tmp_path / "log", b"x" * 100), 200)
    assert (await shipping.stream.sent()).chunk.ref.task_id == "task"


async def test_many_logs_under_way_hold_no_files_open(
    tmp_path: Path, shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = 0
    most = 0
    opening, closing = LogReader.__init__, LogReader.close

    def opened(self: LogReader, path: Any) -> None:
        nonlocal held, most
        opening(self, path)
        held += 1
        most = max(most, held)

    def closed(self: LogReader) -> None:
        nonlocal held
        held -= 1
        closing(self)

    monkeypatch.setattr(LogReader, "__init__", opened)
    monkeypatch.setattr(LogReader, "close", closed)
    count = 50
    for number in range(count):
        key = Attempt(f"task{number}", 1, "a", 1)
        shipping.shipper.ended(key, written(tmp_path / f"log{number}", b"x" * 8000), LogSummary(bytes=8000))
    shipping.connect()
    for _ in range(count):
        sent = await shipping.stream.sent()
        chunk = sent.chunk
        shipping.stream.ack(Attempt(chunk.ref.task_id, 1, "a", 1), offset=chunk.offset + len(chunk.data))
    assert 0 < most < 10
