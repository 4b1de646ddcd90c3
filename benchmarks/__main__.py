"""Runs every benchmark and prints its table; `--json FILE` keeps the figures."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import (
    console_fleet,
    console_log,
    console_table,
    container_path,
    footprint,
    log_path,
    reference,
    run_of_many,
    run_path,
)
from support.cluster import running_cluster
from support.docker_engine import open_engine

ROUNDS = 3


def _median(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


async def _measure() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    bare: dict[int, list[dict[str, float]]] = {1: [], 8: []}
    runs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        async with running_cluster(Path(name), agents=["bench"], real_intervals=True) as cluster:
            figures["footprint"] = await footprint.measure(cluster)
            for _ in range(ROUNDS):  # by turns, so that a slow minute of the machine hits both
                for slots, results in bare.items():
                    results.append(await reference.measure(slots=slots, jobs=600, singles=200))
                runs.append(await run_path.measure_on(cluster, runs=600, singles=200))
            figures["log"] = _median([await log_path.log_rate(cluster) for _ in range(ROUNDS)])
            figures["events"] = await log_path.event_rate(cluster)
    figures["containers"] = await _containers()
    figures["table"] = await console_table.measure()
    figures["console_log"] = await console_log.measure()
    figures["console"] = await asyncio.to_thread(console_fleet.measure)
    figures["many"] = await asyncio.to_thread(run_of_many.measure)
    figures["reference"] = {str(slots): _median(results) for slots, results in bare.items()}
    figures["run"] = _median(runs)
    return figures


async def _containers() -> dict[str, dict[str, float]]:
    """On an engine that no figure before was measured beside."""
    engine = await asyncio.to_thread(open_engine)
    try:
        with tempfile.TemporaryDirectory() as name:
            env = {"GAMENODE_DOCKER_HOST": engine.address}
            async with running_cluster(Path(name), agents=["bench"], env=env, real_intervals=True) as cluster:
                return await container_path.measure_on(cluster, engine.address, rounds=30)
    finally:
        await asyncio.to_thread(engine.close)


def _tables(figures: dict[str, Any]) -> list[Table]:
    run, one, eight = figures["run"], figures["reference"]["1"], figures["reference"]["8"]
    path = Table(title="From the client's call to the end it is told: one step, /bin/true")
    for column in ("", "p50 ms", "p99 ms", "per second"):
        path.add_column(column, justify="left" if not column else "right")
    for label, row in (
        ("reference, 1 slot", one),
        ("reference, 8 slots", eight),
        ("GameNode run, 8 slots", run),
    ):
        path.add_row(label, f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['per_s']:.0f}")
    for label, row in (("ratio to 1 slot", one), ("ratio to 8 slots", eight)):
        ratios = [f"{run[key] / row[key]:.2f} ×" for key in ("p50_ms", "p99_ms", "per_s")]
        path.add_row(label, *ratios)

    flow = Table(title="What flows")
    for column in ("", "GameNode", "reference", "ratio"):
        flow.add_column(column, justify="left" if not column else "right")
    log, events = figures["log"], figures["events"]
    flow.add_row(
        "log, MB/s to the server's disk (plain file)",
        f"{log['mb_per_s']:.0f}",
        f"{log['reference_mb_per_s']:.0f}",
        f"{log['mb_per_s'] / log['reference_mb_per_s']:.2f} ×",
    )
    flow.add_row(
        "events/s, durable, from real steps (SQLite inserts alone)",
        f"{events['per_s']:.0f}",
        f"{events['reference_per_s']:.0f}",
        f"{events['per_s'] / events['reference_per_s']:.3f} ×",
    )

    steps = Table(title="A container step beside plain docker-py, ms")
    for column in ("", "docker-py", "step", "added"):
        steps.add_column(column, justify="left" if not column else "right")
    for label, kind in (
        ("make, start, wait, log, remove (`container.job`)", "job"),
        ("make, start (`container.run`)", "start"),
    ):
        row = figures["containers"][kind]
        steps.add_row(label, *(f"{row[key]:.1f}" for key in ("plain_ms", "step_ms", "added_ms")))

    rest = Table(title="At rest")
    for column in ("", "RSS MB", "PSS MB", "CPU %"):
        rest.add_column(column, justify="left" if not column else "right")
    for name, row in figures["footprint"].items():
        rest.add_row(name, f"{row['rss_mb']:.1f}", f"{row['pss_mb']:.1f}", f"{row['cpu_percent']:.2f}")
    return [
        path,
        flow,
        steps,
        rest,
        console_table.printed(figures["table"]),
        *console_log.printed(figures["console_log"]),
        *console_fleet.printed(figures["console"]),
        run_of_many.table(figures["many"]),
    ]


def main() -> None:
    """Measures, prints, and keeps the figures where asked."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = asyncio.run(_measure())
    console = Console(width=130)
    for table in _tables(figures):
        console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
