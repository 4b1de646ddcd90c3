"""What the store adds to a bare durable commit: runs created a second with many waiting, and the time of a lone one.

    .venv/bin/python benchmarks/store_bench.py [--seconds S] [--waiting N] [--directory DIR]

Each operation is what creating a run with one task takes: run, task, three events, an audit row and an answer. The bare
commit is a SQLite transaction of one row with the same settings, on the same disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from gamenode_pipelines.events import LogSummary, TaskAssigned, TaskEvent
from gamenode_pipelines.ids import make_id
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.tasks import NodeFacts, Step, Task
from gamenode_server.hub import Hub
from gamenode_server.logs import LogRef, LogStore
from gamenode_server.logs.files import Received
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store import Store, Tx, open_store

BUNDLE = os.urandom(2000)
DIGEST = sha256(BUNDLE).hexdigest()


def create_run(run_id: str, task_id: str, node_id: str) -> Callable[[Tx], str]:
    """One operation."""

    def operation(tx: Tx) -> str:
        if tx.answer("ops", run_id) is not None:
            raise AssertionError("an id came twice")
        tx.put_bundle(DIGEST, BUNDLE)
        tx.put_run(
            Run(
                id=run_id,
                pipeline="bench",
                pipeline_version=1,
                total=1,
                state=RunState.RUNNING,
                params={"port": 27960, "mode": "ffa"},
                created_at=tx.now,
                started_at=tx.now,
                created_by="ops",
                bundle_digest=DIGEST,
                counts={TaskState.DISPATCHED: 1},
                started=1,
            )
        )
        facts = NodeFacts(node_id, "eu-1", {"region": "eu", "role": "game"}, "10.0.0.1")
        steps = {name: Step(name) for name in ("pull", "start", "check")}
        task = Task(task_id, run_id, facts, steps, TaskState.DISPATCHED, fence=1, created_at=tx.now)
        tx.put_task(task)
        event = TaskEvent(task_id, 1, tx.now, TaskAssigned())
        tx.emit(
            (
                NewEvent("run.created", run_id=run_id, actor="ops", data={"pipeline": "bench"}),
                NewEvent("run.started", run_id=run_id, actor="ops"),
                NewEvent("task.assigned", node_id, run_id, task_id, fence=1, task_event=event),
            )
        )
        tx.audit(NewAudit("ops", "RunPipeline", run_id, "ok", '{"name":"bench"}', "socket"))
        tx.put_answer("ops", run_id, DIGEST, run_id)
        tx.effect(task)
        return run_id

    return operation


def end_run(run_id: str, task_id: str) -> Callable[[Tx], None]:
    """Ends it again, so that memory stays what it is in a server that keeps up."""

    def operation(tx: Tx) -> None:
        run, task = tx.run(run_id), tx.task(task_id)
        assert run is not None
        assert task is not None
        tx.put_task(replace(task, state=TaskState.SUCCEEDED, finished_at=tx.now))
        tx.put_run(replace(run, state=RunState.SUCCEEDED, finished_at=tx.now, counts={TaskState.SUCCEEDED: 1}))

    return operation


def _ids() -> tuple[str, str]:
    return make_id(os.urandom(8)), make_id(os.urandom(8))


async def lone(store: Store, seconds: float) -> list[float]:
    """One operation at a time; milliseconds each."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        run_id, task_id = _ids()
        start = time.perf_counter()
        await store.apply(create_run(run_id, task_id, "node"))
        times.append((time.perf_counter() - start) * 1e3)
        await store.apply(end_run(run_id, task_id))
    return times


async def crowded(store: Store, seconds: float, waiting: int, *, end: bool) -> float:
    """`waiting` callers; operations a second."""
    done = 0
    until = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < until:
            run_id, task_id = _ids()
            await store.apply(create_run(run_id, task_id, "node"))
            done += 1
            if end:
                await store.apply(end_run(run_id, task_id))

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(waiting):
            group.create_task(caller())
    return done / (time.perf_counter() - start)


def bare(path: Path, seconds: float) -> list[float]:
    """A transaction of one small row, straight through the driver; milliseconds each."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (x) VALUES (?)", (b"x" * 200,))
        connection.execute("COMMIT")
        times.append((time.perf_counter() - start) * 1e3)
    connection.close()
    return times


async def log_rate(directory: Path, *, megabytes: int, streams: int) -> float:
    """Uploads in pieces of 64 KiB, without waiting for each, until every log is proven whole; MB/s."""
    piece = (b"x" * 99 + b"\n") * 655
    count = megabytes * 1_000_000 // len(piece) // streams
    whole = sha256()
    for _ in range(count):
        whole.update(piece)
    summary = LogSummary(count * 655, count * len(piece), whole.hexdigest())
    logs = LogStore(directory, on_change=lambda ref: None)

    async def upload(ref: LogRef) -> None:
        waiting: list[asyncio.Future[Received]] = []
        for number in range(count):
            waiting.append(await logs.offer(ref, number * len(piece), piece, [(1.0, len(piece), 1)]))
        await asyncio.gather(*waiting)
        assert (await logs.finish(ref, summary)).status.complete

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(upload(LogRef("run", f"task{number}", 1, "step", 1)))
    elapsed = time.perf_counter() - start
    await logs.close()
    return count * streams * len(piece) / 1e6 / elapsed


async def main(seconds: float, waiting: int, directory: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as name:
        bare_ms = statistics.median(bare(Path(name) / "bare.db", seconds))
        start = time.perf_counter()
        store = open_store(Path(name) / "store.db", hub=Hub(), on_effects=lambda effects: None, audit_key=b"k" * 32)
        opened = (time.perf_counter() - start) * 1e3
        await lone(store, 0.3)
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        times = await lone(store, seconds)
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = (after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime) / (2 * len(times)) * 1e3
        rate = await crowded(store, seconds, waiting, end=False)
        pairs = await crowded(store, seconds, waiting, end=True)
        await store.close()
        one = await log_rate(Path(name) / "one", megabytes=200, streams=1)
        many = await log_rate(Path(name) / "many", megabytes=200, streams=16)
    p50 = statistics.median(times)
    print(f"{'open a new store':44} {opened:9.2f} ms")
    print(f"{'bare commit, p50':44} {bare_ms:9.3f} ms")
    print(f"{'create a run alone, p50':44} {p50:9.3f} ms   ({p50 - bare_ms:+.3f} over bare)")
    print(f"{'create a run alone, p99':44} {statistics.quantiles(times, n=100)[98]:9.3f} ms")
    print(f"{'CPU a lone operation':44} {used:9.3f} ms")
    print(f"{f'create runs, {waiting} waiting':44} {rate:9.0f} /s")
    print(f"{f'create and end runs, {waiting} waiting':44} {pairs:9.0f} /s")
    print(f"{'one log, to the disk and proven':44} {one:9.0f} MB/s")
    print(f"{'16 logs at once':44} {many:9.0f} MB/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--waiting", type=int, default=64)
    parser.add_argument("--directory", default=None)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.seconds, arguments.waiting, arguments.directory))
