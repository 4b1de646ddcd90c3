"""What the supervisor leaves on disk about one attempt: `state.jsonl` in its directory, a line an event.

1. Before anything is started: the evidence that it may have run. Created exclusively, so that it happens once.
2. When the process is there: its pid and the span of time in which it was made, which together name it for ever.
3. When it is over: the final report.

A line counts when it is whole. Nothing is synced: after a crash of the host the boot id tells that no process is left.
"""

from __future__ import annotations

import json
import os

from gamenode_agent.supervisor.protocol import Json

STATE_FILE = "state.jsonl"
LOG_FILE = "log"

_encode = json.JSONEncoder(separators=(",", ":")).encode


def boot_id() -> str:
    """What the kernel calls this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class State:
    """The three lines, as far as they are there."""

    __slots__ = ("evidence", "final", "process")

    def __init__(self, evidence: Json | None, process: Json | None, final: Json | None) -> None:
        self.evidence = evidence
        self.process = process
        self.final = final


def create(directory: str, evidence: Json) -> int:
    """Writes the first line and returns the open file. Raises FileExistsError when there is one already.

    Makes the directory where it is not there yet.
    """
    path = f"{directory}/{STATE_FILE}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(directory, 0o750, exist_ok=True)
        fd = os.open(path, flags, 0o640)
    try:
        add(fd, evidence)
    except OSError:
        os.close(fd)
        os.unlink(path)  # nothing was started, and nobody has seen it
        raise
    return fd


def add(fd: int, line: Json) -> None:
    """Writes one more line, whole or not at all as far as a reader can tell."""
    data = _encode(line).encode() + b"\n"
    if os.write(fd, data) != len(data):
        raise OSError(28, "No space left on device")


def finish(directory: str, final: Json) -> None:
    """Writes the last line."""
    fd = os.open(f"{directory}/{STATE_FILE}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        add(fd, {"final": final})
    finally:
        os.close(fd)


def read(directory: str) -> State:
    """What is there; all None when there is nothing."""
    state = State(None, None, None)
    try:
        with open(f"{directory}/{STATE_FILE}", "rb") as file:
            lines = file.read().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return state
    # The file itself is the evidence, whatever became of its first line.
    state.evidence = {}
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # torn by a crash or a full disk
        if not isinstance(value, dict):
            continue
        if "final" in value:
            state.final = value["final"]
        elif "pid" in value:
            state.process = value
        elif "boot_id" in value:
            state.evidence = value
    return state
