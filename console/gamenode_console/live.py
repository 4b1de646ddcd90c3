"""The live view's model: folds updates of a run into rows, the ones that matter first. Pure; draws nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gamenode_console import outcomes, texts

Document = Mapping[str, Any]

#: Symbols of step states; shape and colour both tell them apart.
SYMBOLS: Mapping[str, tuple[str, str]] = {
    "pending": ("·", "."),
    "running": ("●", "*"),
    "waiting": ("◔", "~"),
    "succeeded": ("✓", "+"),
    "failed": ("✗", "x"),
    "cancelled": ("⊘", "c"),
    "skipped": ("–", "-"),
    "lost": ("?", "?"),
}

_TROUBLE = frozenset({"failed", "needs_attention", "lost"})
_MOVING = frozenset({"running", "cancelling", "waiting", "dispatched"})


@dataclass(frozen=True, slots=True)
class Row:
    """One task as the view shows it: its steps' states in order, and what it does now."""

    node: str
    state: str
    steps: tuple[str, ...]
    now: str
    took: str


@dataclass(frozen=True, slots=True)
class View:
    """What fits: some rows, what the others are, and the head line."""

    title: str
    rows: tuple[Row, ...]
    hidden: str
    summary: str


@dataclass(slots=True)
class LiveRun:
    """A watched run as it stands."""

    run: Document | None = None
    tasks: dict[str, Document] = field(default_factory=dict)
    ended: bool = False

    def apply(self, update: Document) -> None:
        """Takes over an update document: the run, and the tasks that changed."""
        self.run = update["run"]
        self.ended = update["ended"]
        for task in update["tasks"]:
            self.tasks[task["id"]] = task

    def view(self, *, room: int, now: float) -> View:
        """What to show in `room` lines: trouble first, then what moves, then the newest ends, then the rest."""
        run = self.run
        if run is None:
            return View("", (), "", "waiting for the first news")
        ordered = sorted(self.tasks.values(), key=_rank)
        shown, hidden = _split(ordered, room)
        counts = Counter(task["state"] for task in self.tasks.values())
        took = _took(run, now)
        title = f"{outcomes.pipeline_name(run)}  run {run['id']}  {run['state']}" + (f"  {took}" if took else "")
        return View(
            texts.one_line(title),
            tuple(_row(task, now) for task in shown),
            f"and {len(hidden)} more: {_tally(Counter(task['state'] for task in hidden))}" if hidden else "",
            f"{len(self.tasks)} tasks: {_tally(counts)}",
        )


def _split(ordered: list[Document], room: int) -> tuple[list[Document], list[Document]]:
    """What is shown and what is only counted. Trouble leaves half of the room to what moves."""
    if len(ordered) <= room:
        return ordered, []
    lines = max(0, room - 1)
    ranks = [_rank(task)[0] for task in ordered]
    trouble, moving = ranks.count(0), ranks.count(1)
    if trouble and moving and trouble + moving > lines:
        kept = max(lines - moving, min(trouble, (lines + 1) // 2))
        return ordered[:kept] + ordered[trouble : trouble + lines - kept], (
            ordered[kept:trouble] + ordered[trouble + lines - kept :]
        )
    return ordered[:lines], ordered[lines:]


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), key=lambda item: -item[1]))


def _rank(task: Document) -> tuple[int, float]:
    """Trouble and moving tasks keep their order; ends come newest first."""
    state = task["state"]
    if state in _TROUBLE:
        return (0, 0.0)
    if state in _MOVING:
        return (1, 0.0)
    if task["finished_at"]:
        return (2, -texts.parse_time(task["finished_at"]))
    return (3, 0.0)


def _row(task: Document, now: float) -> Row:
    steps = task["steps"]
    return Row(
        texts.one_line(task["node"]),
        task["state"],
        tuple(step["state"] for step in steps),
        texts.one_line(_now(task, now)),
        _took(task, now),
    )


def _now(task: Document, now: float) -> str:
    """What the task does, or why it does not."""
    if task["error"] is not None:
        return f"{task['error']['code']}: {task['error']['message']}"
    active = [step for step in task["steps"] if step["state"] in ("running", "waiting")]
    words = []
    for step in active:
        tries = f" try {step['attempt']}" if step["attempt"] > 1 else ""
        took = _took(step, now)
        words.append(f"{step['id']}{tries}{f' {took}' if took else ''}")
    if words:
        return ", ".join(words)
    failed = [step for step in task["steps"] if step["state"] in ("failed", "lost")]
    if failed:
        error = failed[0]["error"]
        return f"{failed[0]['id']}: {error['message'] if error else failed[0]['state']}"
    return ""


def _took(document: Document, now: float) -> str:
    started, finished = document["started_at"], document["finished_at"]
    if started is None:
        return ""
    return texts.span((texts.parse_time(finished) if finished else now) - texts.parse_time(started))


def step_names(tasks: Mapping[str, Document]) -> tuple[str, ...]:
    """The ids of the steps, from the first task that has any: they are the same for every task of a run."""
    for task in tasks.values():
        if task["steps"]:
            return tuple(step["id"] for step in task["steps"])
    return ()


class Transitions:
    """What changed between updates, as lines for a log: each state of each task and step once."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], tuple[str, int]] = {}

    def feed(self, update: Document) -> list[str]:
        """Lines for what is new in an update document."""
        lines: list[str] = []
        several = update["run"]["total"] > 1
        for task in update["tasks"]:
            front = f"{task['node']}: " if several else ""
            for step in task["steps"]:
                if self._changed(task["id"], step["id"], step["state"], step["attempt"]):
                    text = _step_line(step)
                    if text:
                        lines.append(texts.one_line(front + text))
            if self._changed(task["id"], "", task["state"], task["fence"]) and task["state"] != "pending":
                error = f": {task['error']['message']}" if task["error"] else ""
                lines.append(texts.one_line(f"{task['node']}: {task['state'].replace('_', ' ')}{error}"))
        return lines

    def _changed(self, task: str, step: str, state: str, number: int) -> bool:
        known = self._states.get((task, step))
        self._states[(task, step)] = (state, number)
        return known != (state, number)


def _step_line(step: Document) -> str:
    if step["state"] == "pending":
        return ""
    tries = f" (try {step['attempt']})" if step["attempt"] > 1 else ""
    text = f"{step['id']} {step['state']}{tries}"
    if step["started_at"] and step["finished_at"]:
        text += f" in {texts.span(texts.parse_time(step['finished_at']) - texts.parse_time(step['started_at']))}"
    if step["exit_code"]:
        text += f", exit {step['exit_code']}"
    if step["error"] is not None:
        text += f": {step['error']['message']}"
    return text
