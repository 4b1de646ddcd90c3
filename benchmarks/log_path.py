"""How fast a step's output reaches the server's disk, and how fast events do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from gamenode_proto.v1 import pipeline_management_pb2
from support.cluster import Cluster, start_run

LINE = "x" * 99
FLOOD = """
pipeline: bench-flood
steps:
  - id: flood
    env: {{LINES: "{lines}"}}
    run: yes "{line}" | head -n "$LINES"
"""
STEPS = """
pipeline: bench-steps
steps:
"""


async def log_rate(cluster: Cluster, *, megabytes: int = 30) -> dict[str, float]:
    """MB/s from a step's first byte to the last one on the server's disk, hash checked; and the machine's own rate.

    The reference writes the same bytes to a file in the same pieces and syncs it once a second.
    """
    lines = megabytes * 1_000_000 // (len(LINE) + 1)
    async with cluster.gateway() as gateway:
        start = time.perf_counter()
        document = await start_run(gateway, FLOOD.format(lines=lines, line=LINE))
        async for update in gateway.pipelines.watch_run(document.run.id):
            if update.ended:
                break
        elapsed = time.perf_counter() - start
        document = await gateway.pipelines.get_run(document.run.id)
        (log,) = document.logs
        assert log.complete, "the log is not complete"
        assert log.lines == lines, f"{log.lines} of {lines} lines"
    return {"mb_per_s": megabytes / elapsed, "reference_mb_per_s": await asyncio.to_thread(_file_rate, megabytes)}


def _file_rate(megabytes: int) -> float:
    piece = b"x" * (64 * 1024)
    start = synced = time.perf_counter()
    with tempfile.TemporaryFile() as file:
        for _ in range(megabytes * 1_000_000 // len(piece)):
            file.write(piece)
            if time.perf_counter() - synced > 1:
                os.fdatasync(file.fileno())
                synced = time.perf_counter()
        file.flush()
        os.fdatasync(file.fileno())
    return megabytes / (time.perf_counter() - start)


async def event_rate(cluster: Cluster, *, runs: int = 300, steps: int = 20) -> dict[str, float]:
    """Durable events a second on the server while runs of many short steps go through it; and SQLite's own rate.

    The reference inserts rows of the same kind a hundred to a commit with `synchronous=FULL`.
    """
    text = STEPS + "".join(f"  - id: s{n}\n    shell: none\n    run: [/bin/true]\n" for n in range(steps))
    async with cluster.gateway() as gateway:
        await gateway.pipelines.apply([pipeline_management_pb2.PipelineSource(file="bench.yaml", text=text)])
        before = (await gateway.state.status()).cursor
        limit = asyncio.Semaphore(16)

        async def one() -> None:
            async with limit:
                request = pipeline_management_pb2.RunPipelineRequest(
                    name="bench-steps", all=True, request_id=os.urandom(8).hex()
                )
                document = await gateway.pipelines.run(request)
                async for update in gateway.pipelines.watch_run(document.run.id):
                    if update.ended:
                        return

        start = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(runs)))
        elapsed = time.perf_counter() - start
        events = (await gateway.state.status()).cursor - before
    return {"per_s": events / elapsed, "reference_per_s": await asyncio.to_thread(_insert_rate)}


def _insert_rate(rows: int = 50_000) -> float:
    with tempfile.TemporaryDirectory() as name:
        db = sqlite3.connect(Path(name) / "events.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE event (cursor INTEGER PRIMARY KEY, type TEXT, run TEXT, body BLOB)")
        start = time.perf_counter()
        for first in range(0, rows, 100):
            db.execute("BEGIN IMMEDIATE")
            batch = [(n, "step.succeeded", "abcdefghijkl", b"x" * 120) for n in range(first, first + 100)]
            db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", batch)
            db.execute("COMMIT")
        elapsed = time.perf_counter() - start
        db.close()
    return rows / elapsed
