"""The reference: the bare durable path from a submitted job to its known end, with nothing of GameNode in it.

One grpc.aio stream (no TLS) between two processes. The server commits the job with `synchronous=FULL` and group commit
and sends it; the agent commits it, spawns `/bin/true`, commits and sends the result; the server commits that. What a
system that makes the same promises cannot avoid, in other words.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc

METHOD = "/reference.Link/Session"


class GroupCommit:
    """One thread, one connection, whatever waits shares a commit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: SimpleQueue[tuple[str, tuple[object, ...], asyncio.Future[None]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._main, daemon=True).start()

    async def write(self, statement: str, *row: object) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((statement, row, future))
        await future

    def _main(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, state TEXT, body BLOB)")
        while (item := self._queue.get()) is not None:
            batch = [item]
            while not self._queue.empty() and len(batch) < 500:
                more = self._queue.get()
                if more is None:
                    return
                batch.append(more)
            db.execute("BEGIN IMMEDIATE")
            for statement, row, _ in batch:
                db.execute(statement, row)
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_resolve, [future for *_, future in batch])


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


INSERT = "INSERT INTO job VALUES (?, ?, ?)"
UPDATE = "UPDATE job SET state = ? WHERE id = ?"


async def agent(port: int, slots: int, directory: Path) -> None:
    """Runs jobs, `slots` at once, until the stream ends."""
    store = GroupCommit(directory / "agent.db")
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()
    await call.write(b"hello")
    results: asyncio.Queue[bytes] = asyncio.Queue()
    free = asyncio.Semaphore(slots)

    async def run(job: bytes) -> None:
        number = int.from_bytes(job[:8], "big")
        await store.write(INSERT, number, "accepted", job)
        async with free:
            process = await asyncio.create_subprocess_exec("/bin/true", stdin=subprocess.DEVNULL)
            code = await process.wait()
        await store.write(UPDATE, "done", number)
        results.put_nowait(job[:8] + bytes([code]))

    async def send() -> None:
        while True:
            await call.write(await results.get())

    async with asyncio.TaskGroup() as tasks:
        sender = tasks.create_task(send())
        while isinstance(job := await call.read(), bytes):
            tasks.create_task(run(job))
        sender.cancel()
    await channel.close()


class _Server:
    def __init__(self, store: GroupCommit) -> None:
        self.store = store
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.waiting: dict[int, asyncio.Future[None]] = {}

    async def session(self, requests: AsyncIterator[bytes], context: Any) -> None:
        async def settle(frame: bytes) -> None:
            number = int.from_bytes(frame[:8], "big")
            await self.store.write(UPDATE, "done", number)
            self.waiting.pop(number).set_result(None)

        async def receive() -> None:
            async with asyncio.TaskGroup() as tasks:
                async for frame in requests:
                    if frame == b"hello":
                        self.connected.set()
                    else:
                        tasks.create_task(settle(frame))

        async with asyncio.TaskGroup() as tasks:
            receiver = tasks.create_task(receive())
            while (job := await self.outgoing.get()) is not None:
                await context.write(job)
            receiver.cancel()

    async def submit(self, number: int) -> None:
        body = number.to_bytes(8, "big") + b"x" * 200
        await self.store.write(INSERT, number, "pending", body)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.outgoing.put_nowait(body)
        await self.waiting[number]


async def measure(*, slots: int, jobs: int, singles: int) -> dict[str, float]:
    """`{"per_s": …, "p50_ms": …, "p99_ms": …}` of the reference on this machine, now."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        reference = _Server(GroupCommit(directory / "server.db"))
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(reference.session)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("reference.Link", {"Session": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.reference", str(port), str(slots), str(directory)
        )
        try:
            await asyncio.wait_for(reference.connected.wait(), 20)
            for number in range(50):
                await reference.submit(number)
            times = []
            for number in range(1_000, 1_000 + singles):
                start = time.perf_counter()
                await reference.submit(number)
                times.append(time.perf_counter() - start)
            start = time.perf_counter()
            await asyncio.gather(*(reference.submit(number) for number in range(100_000, 100_000 + jobs)))
            elapsed = time.perf_counter() - start
        finally:
            reference.outgoing.put_nowait(None)
            await server.stop(1)
            if process.returncode is None:
                process.terminate()
            await process.wait()
        times.sort()
        return {
            "per_s": jobs / elapsed,
            "p50_ms": times[len(times) // 2] * 1000,
            "p99_ms": times[int(len(times) * 0.99)] * 1000,
        }


if __name__ == "__main__":
    asyncio.run(agent(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
