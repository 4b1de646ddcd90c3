"""A run of many steps over many fake nodes, on a server of its own, and the commands that ask about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

NODES, STEPS = 200, 10
#: What a step takes about; so the run goes on for STEPS times as long, and more.
SECONDS = 1.0

_ROOT = Path(__file__).parents[2]
_STEPS = "\n".join(f"  - {{id: s{n}, run: 'true'}}" for n in range(STEPS))
PIPELINE = f"pipeline: many\nrollout: {{max_failures: 100%}}\nsteps:\n{_STEPS}\n"


def env(home: Path) -> dict[str, str]:
    """The environment of every program here."""
    paths = os.pathsep.join((str(_ROOT), str(_ROOT / "tests")))
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": paths, "GAMENODE_LOG_LEVEL": "error"}


@contextmanager
def served(folder: Path, *, nodes: int = NODES, seconds: float = SECONDS) -> Iterator[Path]:
    """A server with nodes that work, as a process; its data dir."""
    data_dir = folder / "server"
    argv = [sys.executable, "-m", "support.working_fleet", "--data-dir", str(data_dir)]
    argv += ["--nodes", str(nodes), "--seconds", str(seconds)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env(folder))
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield data_dir
    finally:
        process.communicate(timeout=60)


def cli(folder: Path, data_dir: Path, *words: str) -> tuple[str, float]:
    """What `gamenode WORDS` prints, and the seconds it took."""
    start = time.monotonic()
    argv = [sys.executable, "-m", "gamenode_console", "--data-dir", str(data_dir), *words]
    out = subprocess.run(argv, env=env(folder), check=True, capture_output=True, text=True).stdout
    return out, time.monotonic() - start


def started(folder: Path, data_dir: Path) -> str:
    """A run over every node; its id."""
    file = folder / "many.yaml"
    file.write_text(PIPELINE)
    out, _ = cli(folder, data_dir, "pipeline", "run", str(file), "--all", "-o", "json")
    return str(json.loads(out)["id"])


def watched(folder: Path, data_dir: Path, run: str) -> float:
    """Watches a run to its end; the seconds between its end and a watcher's knowing of it."""
    argv = [sys.executable, "-m", "gamenode_console", "--data-dir", str(data_dir), "run", "watch", run, "-o", "jsonl"]
    with subprocess.Popen(argv, env=env(folder), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)["run"]
            if document["finished_at"]:
                heard = time.time()
                ended = datetime.fromisoformat(document["finished_at"]).timestamp()
                process.communicate()
                return heard - ended
    raise AssertionError(f"run {run} was not seen to end")
