"""A run of ten steps over 200 nodes as it goes on: asking for it, watching it, moving through it in the console.

`python -m benchmarks.run_of_many` prints it. The server is a real one, the nodes are fake ones with real sessions over
TLS; the reference is the same program asked for nothing (`gamenode version`).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.many_nodes import NODES, STEPS, cli, env, served, started, watched
from support.measured_terminal import MeasuredTerminal
from support.watched_cursor import WatchedCursor

ASKED, KEYS = 5, 40
#: Until a view is there, seconds.
SETTLED = 1.5
GOALS = {"show_ms": 1000.0, "key_p95_ms": 50.0}


def measure() -> dict[str, Any]:
    """Seconds and milliseconds of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder) as data_dir:
            run = started(folder, data_dir)
            shown, bare, size = [], [], 0
            for _ in range(ASKED):  # by turns
                bare.append(cli(folder, data_dir, "version")[1])
                out, took = cli(folder, data_dir, "run", "show", run, "-o", "json")
                shown.append(took)
                size = len(out)
            late = watched(folder, data_dir, run)
            started(folder, data_dir)
            argv = [sys.executable, "-m", "gamenode_console.program", "--data-dir", str(data_dir)]
            argv += ["--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0"]
            with MeasuredTerminal(argv, env=env(folder)) as terminal:
                terminal.shows("node-0")
                terminal.press("4")
                time.sleep(SETTLED)
                terminal.press("\r")  # the newest run is the first one
                time.sleep(SETTLED)
                cursor = WatchedCursor(terminal)
                keys = [
                    1000 * cursor.moved("j" if n // 10 % 2 == 0 else "k", +1 if n // 10 % 2 == 0 else -1)
                    for n in range(KEYS)
                ]
                busy = terminal.spent(3.0)
    return {
        "show_ms": 1000 * statistics.median(shown),
        "version_ms": 1000 * statistics.median(bare),
        "show_kb": size / 1000,
        "watch_late_ms": 1000 * late,
        "key_median_ms": statistics.median(keys),
        "key_p95_ms": sorted(keys)[int(0.95 * len(keys)) - 1],
        "core_percent": busy.core_percent,
    }


def table(figures: dict[str, Any]) -> Table:
    """The figures for people."""
    found = Table(title=f"A run of {STEPS} steps over {NODES} nodes, while it goes on")
    for column in ("", "measured", "beside it", "goal"):
        found.add_column(column, justify="left" if not column else "right")
    ratio = figures["show_ms"] / figures["version_ms"]
    found.add_row(
        f"run show -o json ({figures['show_kb']:.0f} KB)",
        f"{figures['show_ms']:.0f} ms",
        f"{ratio:.1f} x gamenode version",
        f"{GOALS['show_ms']:.0f} ms",
    )
    found.add_row("a watcher hears of the end after", f"{figures['watch_late_ms']:.0f} ms", "", "")
    found.add_row(
        "console: key to screen, median, p95",
        f"{figures['key_median_ms']:.1f}, {figures['key_p95_ms']:.1f} ms",
        "",
        f"{GOALS['key_p95_ms']:.0f} ms",
    )
    found.add_row("console: of a core", f"{figures['core_percent']:.1f} %", "", "")
    return found


if __name__ == "__main__":
    Console().print(table(measure()))
