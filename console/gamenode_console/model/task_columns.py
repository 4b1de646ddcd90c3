"""The columns of a run's tasks: the matrix of steps and nodes, one node a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gamenode_console import texts, words
from gamenode_console.live import SYMBOLS
from gamenode_console.model import cells
from gamenode_console.model.cells import Cell, Shown
from gamenode_console.model.columns import Column
from gamenode_console.model.glyphs import Glyphs
from gamenode_console.model.watched import current_step
from gamenode_proto.v1 import work_pb2

Task = work_pb2.Task
#: Cells that a step's column takes at most: its symbol, or as much of its name as fits above it.
_STEP = 10
#: With more steps than these the symbols stand side by side in one column.
_OWN_COLUMNS = 8
#: Trouble first, then what moves.
_RANK = {"failed": 0, "needs_attention": 0, "lost": 0, "running": 1, "cancelling": 1, "waiting": 1, "dispatched": 2}


def columns(steps: Sequence[str], glyphs: Glyphs) -> tuple[Column[Task], ...]:
    """Node and state, the steps, what happens now, and how long it takes."""
    return (
        Column("node", "NODE", 18, lambda task, now: task.node.name, order=lambda task: task.node.name),
        Column("state", "STATE", 15, _state, order=_rank),
        *_matrix(steps, glyphs),
        Column("now", "NOW", 20, _now, spare=2, grow=True, ages=True),
        Column("took", "TIME", 7, _took, order=lambda task: task.started_at, right=True, spare=1, ages=True),
        Column("id", "ID", 12, lambda task, now: task.id, wide=True),
    )


def _matrix(steps: Sequence[str], glyphs: Glyphs) -> list[Column[Task]]:
    if len(steps) > _OWN_COLUMNS:
        title = f"{len(steps)} STEPS"
        return [
            Column(
                "steps", title, max(len(title), len(steps)), lambda task, now: all_symbols(task, glyphs), value=_said
            )
        ]
    return [
        Column(
            f"step.{id}",
            id,
            min(max(3, len(id)), _STEP),
            lambda task, now, at=at: symbol(task, at, glyphs),  # type: ignore[misc]  # `at` is bound here
            value=lambda task, now, at=at: _word(task, at),  # type: ignore[misc]
        )
        for at, id in enumerate(steps)
    ]


def symbol(task: Task, at: int, glyphs: Glyphs) -> Shown:
    """One step of a task as a sign; tries after the first with their number."""
    if at >= len(task.steps):
        return Cell(SYMBOLS["pending"][0 if glyphs.utf8 else 1], "dim")
    step = task.steps[at]
    word = words.step_state(step.state)
    sign = SYMBOLS.get(word, ("?", "?"))[0 if glyphs.utf8 else 1]
    return Cell(f"{sign}{step.attempt}" if step.attempt > 1 else sign, word)


def all_symbols(task: Task, glyphs: Glyphs) -> list[Cell]:
    """Every step as a sign, side by side."""
    found = []
    for step in task.steps:
        word = words.step_state(step.state)
        found.append(Cell(SYMBOLS.get(word, ("?", "?"))[0 if glyphs.utf8 else 1], word))
    return found


def is_faulty(task: Task) -> bool:
    """Whether somebody should look at it."""
    return words.task_state(task.state) in ("failed", "lost", "needs_attention")


def _word(task: Task, at: int) -> str:
    return words.step_state(task.steps[at].state) if at < len(task.steps) else ""


def _said(task: Task, now: float) -> str:
    return " ".join(f"{step.id}={words.step_state(step.state)}" for step in task.steps)


def _state(task: Task, now: float) -> Shown:
    return cells.state(words.task_state(task.state))


def _rank(task: Task) -> tuple[int, int]:
    return _RANK.get(words.task_state(task.state), 3), task.position


def _now(task: Task, now: float) -> Shown:
    if task.error.message:
        return Cell(f"{task.error.code}: {task.error.message}", "bad")
    step = current_step(task)
    if step is None:
        return ""
    if step.error.message:
        return Cell(f"{step.id}: {step.error.message}", "bad")
    if step.finished_at:
        return Cell(f"{step.id} {words.step_state(step.state)}", "dim")
    return f"{step.id} {texts.span(now - step.started_at)}" if step.started_at else step.id


def _took(task: Task, now: float) -> Shown:
    if not task.started_at:
        return Cell("-", "dim")
    return texts.span((task.finished_at or now) - task.started_at)
