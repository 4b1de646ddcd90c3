"""The real console in a real pseudo-terminal, before a real server with 10,000 made-up nodes and 2,000 updates/s.

`python -m benchmarks.console_fleet` prints: from a key to the screen, the share of a core, what is written to the
terminal, memory, the first frame, and when nodes are listed; beside it Textual's own table with the same rows and
updates, and `htop` where it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from support.measured_terminal import MeasuredTerminal
from support.watched_cursor import WatchedCursor

NODES, UPDATES_PER_S = 10_000, 2_000
#: Keys that are timed in each view, and the keys that open the views.
KEYS = 50
VIEWS = {"Fleet": "1", "Nodes": "2", "Nodes, all columns": "w", "Runs": "4"}
#: Seconds that a share of a core is measured over, and until a view is at rest.
SECONDS, SETTLED = 6.0, 3.0
STARTS = 5
GOALS = {"key_p95_ms": 50.0, "core_percent": 30.0, "rest_kb_per_s": 20.0, "first_frame_ms": 400.0}

_ROOT = Path(__file__).parents[1]


class Fleet:
    """A server over many made-up nodes, as a process."""

    def __init__(self, data_dir: Path, env: dict[str, str], nodes: int) -> None:
        self.data_dir = data_dir
        argv = [sys.executable, "-m", "support.simulated_fleet", "--data-dir", str(data_dir), "--nodes", str(nodes)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def rate(self, updates_per_s: int) -> None:
        """So many nodes say something each second from now on."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{updates_per_s}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """Ends the server as a server ends."""
        self.process.communicate(timeout=30)


def _env(home: Path) -> dict[str, str]:
    paths = os.pathsep.join((str(_ROOT), str(_ROOT / "tests")))
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": paths, "GAMENODE_LOG_LEVEL": "error"}


def _console(data_dir: Path, env: dict[str, str]) -> MeasuredTerminal:
    argv = [sys.executable, "-m", "gamenode_console.program", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    return MeasuredTerminal([*argv, "--join-listen", "127.0.0.1:0"], env=env)


@contextmanager
def _served(folder: Path, nodes: int = NODES) -> Iterator[Fleet]:
    fleet = Fleet(folder / "server", _env(folder), nodes)
    try:
        yield fleet
    finally:
        fleet.stop()


def _starts(fleet: Fleet, env: dict[str, str]) -> dict[str, float]:
    """Milliseconds to the first frame and to the nodes, and what importing Textual alone takes, by turns."""
    reference, frames, listed = [], [], []
    for _ in range(STARTS):
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", "import textual.app"], env=env, check=True)
        reference.append(1000 * (time.monotonic() - start))
        with _console(fleet.data_dir, env) as terminal:
            frames.append(1000 * terminal.shows("GameNode"))
            listed.append(1000 * terminal.shows("node-0"))
    return {
        "textual_ms": statistics.median(reference),
        "first_frame_ms": statistics.median(frames),
        "attached_ms": statistics.median(listed),
    }


def _keys(terminal: MeasuredTerminal, count: int) -> list[float]:
    """Milliseconds from a key that moves the cursor until the terminal has it on the other line."""
    cursor = WatchedCursor(terminal)
    found = []
    for n in range(count):
        down = n // 10 % 2 == 0
        found.append(1000 * cursor.moved("j" if down else "k", +1 if down else -1))
    return found


def _own(fleet: Fleet, env: dict[str, str]) -> dict[str, Any]:
    figures: dict[str, Any] = {"keys": {}, "core": {}, "kb_per_s": {}, "rest_kb_per_s": {}, "rest_core": {}}
    with _console(fleet.data_dir, env) as terminal:
        terminal.shows("node-0")
        for name, key in VIEWS.items():
            terminal.press(key)
            fleet.rate(0)
            time.sleep(SETTLED)
            rest = terminal.spent(SECONDS)
            fleet.rate(UPDATES_PER_S)
            time.sleep(SETTLED)
            busy = terminal.spent(SECONDS)
            figures["rest_core"][name], figures["rest_kb_per_s"][name] = rest.core_percent, rest.kb_per_s
            figures["core"][name], figures["kb_per_s"][name] = busy.core_percent, busy.kb_per_s
            figures["keys"][name] = _keys(terminal, KEYS)
        fleet.rate(0)
        figures["memory_mb"] = terminal.memory_mb
    return figures


def _stock(env: dict[str, str]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    argv = [sys.executable, "-m", "benchmarks.stock_table", str(NODES)]
    with MeasuredTerminal([*argv, "0"], env=env) as terminal:
        terminal.shows("node-00001")
        time.sleep(SETTLED)
        rest = terminal.spent(SECONDS)
        figures |= {"rest_core": rest.core_percent, "rest_kb_per_s": rest.kb_per_s}
    with MeasuredTerminal([*argv, str(UPDATES_PER_S)], env=env) as terminal:
        terminal.shows("node-00001")
        time.sleep(SETTLED)
        busy = terminal.spent(SECONDS)
        figures |= {"core": busy.core_percent, "kb_per_s": busy.kb_per_s, "keys": _keys(terminal, KEYS)}
        figures["memory_mb"] = terminal.memory_mb
    return figures


def _htop(env: dict[str, str]) -> dict[str, float] | None:
    program = shutil.which("htop")
    if program is None:
        return None
    with MeasuredTerminal([program], env=env) as terminal:
        time.sleep(SETTLED)
        rest = terminal.spent(SECONDS)
        return {
            "rest_core": rest.core_percent,
            "rest_kb_per_s": rest.kb_per_s,
            "memory_mb": terminal.memory_mb,
        }


def _take_over(data_dir: Path, env: dict[str, str]) -> dict[str, float]:
    """Milliseconds until nodes are listed: by a console with a server of its own, and after that one was killed."""
    with _console(data_dir, env) as first:
        own = first.shows("node-0")
        first.shows("embedded")
        os.kill(first.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        with _console(data_dir, env) as second:
            while _pid(data_dir) == first.process.pid:
                time.sleep(0.005)
            again = time.monotonic() - killed
            fresh = second.shows("node-0")
    subprocess.run(
        [sys.executable, "-m", "gamenode_console", "--data-dir", str(data_dir), "down"],
        env=env,
        check=True,
        capture_output=True,
    )
    return {"embedded_ms": 1000 * own, "taken_over_ms": 1000 * again, "attached_after_ms": 1000 * fresh}


def _pid(data_dir: Path) -> int:
    return int(json.loads((data_dir / "server.json").read_text())["pid"])


def measure() -> dict[str, Any]:
    """Every figure; takes two minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = _env(folder)
        with _served(folder) as fleet:
            figures: dict[str, Any] = {"start": _starts(fleet, env), "console": _own(fleet, env)}
        figures["start"] |= _take_over(folder / "server", env)
        figures["stock"] = _stock(env)
        figures["htop"] = _htop(env)
    return figures


def _p(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def printed(figures: dict[str, Any]) -> list[Printed]:
    """The figures as people read them."""
    own, stock, htop, start = figures["console"], figures["stock"], figures["htop"], figures["start"]
    keys = [each for times in own["keys"].values() for each in times]
    fleet = Printed(title=f"The console, {NODES:,} nodes, {UPDATES_PER_S:,} updates/s, through a pty of 120 by 40")
    for heading in ("", *VIEWS, "DataTable", "htop", "goal"):
        fleet.add_column(heading, justify="right" if heading else "left")

    def row(text: str, ours: list[str], theirs: str, others: str, goal: str = "") -> None:
        fleet.add_row(text, *ours, theirs, others, goal)

    views = list(VIEWS)
    for part, text in ((0.5, "key to screen, p50 ms"), (0.95, "key to screen, p95 ms")):
        goal = f"{GOALS['key_p95_ms']:.0f} ({_p(keys, part):.1f} over all)" if part > 0.5 else ""
        row(text, [f"{_p(own['keys'][v], part):.1f}" for v in views], f"{_p(stock['keys'], part):.1f}", "", goal)
    row(
        "of a core with updates, %",
        [f"{own['core'][v]:.1f}" for v in views],
        f"{stock['core']:.1f}",
        "",
        f"{GOALS['core_percent']:.0f}",
    )
    row("written with updates, KB/s", [f"{own['kb_per_s'][v]:.1f}" for v in views], f"{stock['kb_per_s']:.1f}", "")

    def of_htop(key: str) -> str:
        return f"{htop[key]:.1f}" if htop else "not installed"

    row(
        "of a core at rest, %",
        [f"{own['rest_core'][v]:.1f}" for v in views],
        f"{stock['rest_core']:.1f}",
        of_htop("rest_core"),
    )
    row(
        "written at rest, KB/s",
        [f"{own['rest_kb_per_s'][v]:.1f}" for v in views],
        f"{stock['rest_kb_per_s']:.1f}",
        of_htop("rest_kb_per_s"),
        f"{GOALS['rest_kb_per_s']:.0f}",
    )
    row(
        "memory of its own, MB",
        [f"{own['memory_mb']:.0f}"] + [""] * (len(views) - 1),
        f"{stock['memory_mb']:.0f}",
        of_htop("memory_mb"),
    )

    starts = Printed(title="From the start of the process, ms")
    for heading in ("", "ms", "× `import textual.app`", "goal, ms"):
        starts.add_column(heading, justify="right" if heading else "left")
    for key, text, goal in (
        ("textual_ms", "`python -c 'import textual.app'`, to its end", ""),
        ("first_frame_ms", "first frame", f"{GOALS['first_frame_ms']:.0f}"),
        ("attached_ms", f"{NODES:,} nodes listed, attached", ""),
        ("embedded_ms", f"{NODES:,} nodes listed, from a server of its own", ""),
        ("attached_after_ms", "nodes listed, by a console that was started at the kill", ""),
        ("taken_over_ms", "from kill -9 of that server until the standby serves", ""),
    ):
        starts.add_row(text, f"{start[key]:.0f}", f"{start[key] / start['textual_ms']:.1f}", goal)
    return [fleet, starts]


def main() -> None:
    """Measures and prints."""
    console = Console(width=150)
    for table in printed(measure()):
        console.print(table)


if __name__ == "__main__":
    main()
