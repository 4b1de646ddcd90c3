"""The columns of runs in live tables. Pure."""

from __future__ import annotations

from gamenode_console import texts, words
from gamenode_console.model import cells
from gamenode_console.model.bars import shares
from gamenode_console.model.cells import Cell, Shown
from gamenode_console.model.columns import Column
from gamenode_console.model.glyphs import Glyphs
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import work_pb2

Run = work_pb2.Run
#: Parts of the bar, in order: words for the look, and the states of tasks they stand for.
_PARTS = (
    ("succeeded", ("succeeded", "skipped")),
    ("failed", ("failed", "lost", "needs_attention", "cancelled")),
    ("running", ("running", "dispatched", "cancelling", "waiting")),
)


def state_of(run: Run) -> str:
    """Its state as a word."""
    return words.run_state(run.state)


def has_ended(run: Run) -> bool:
    """Whether nothing in it moves any more."""
    return state_of(run) in set(RunState) and RunState(state_of(run)).ended


def is_faulty(run: Run) -> bool:
    """Whether somebody should look at it."""
    return state_of(run) in ("failed", "needs_attention")


def columns(glyphs: Glyphs) -> tuple[Column[Run], ...]:
    """Pipeline, state and bar stay."""
    return (
        Column("pipeline", "PIPELINE", 20, lambda run, now: run.pipeline or "(file)", order=_pipeline, grow=True),
        Column("state", "STATE", 15, lambda run, now: cells.state(state_of(run)), order=state_of),
        Column(
            "progress",
            "PROGRESS",
            16,
            lambda run, now: progress(run, glyphs),
            order=_done,
            value=lambda run, now: f"{_done(run)}/{run.total}",
        ),
        Column("took", "TIME", 7, took, order=lambda run: run.started_at, right=True, ages=True),
        Column("age", "AGE", 7, _age, order=lambda run: -run.created_at, right=True, spare=1, ages=True),
        Column("target", "TARGET", 18, lambda run, now: run.target, order=lambda run: run.target, spare=3),
        Column("by", "BY", 12, lambda run, now: run.created_by, order=lambda run: run.created_by, spare=4),
        Column("id", "ID", 12, lambda run, now: run.id, order=lambda run: run.id, spare=2),
        Column("note", "NOTE", 24, lambda run, now: run.note, wide=True),
    )


def progress(run: Run, glyphs: Glyphs) -> list[Cell]:
    """A bar of what has succeeded, what has failed and what runs, and how much that is."""
    counts = [(sum(run.counts.get(state, 0) for state in states), word) for word, states in _PARTS]
    rest = run.total - sum(count for count, _ in counts)
    count = f" {_done(run)}/{run.total}"
    return [*shares([*counts, (max(0, rest), "dim")], max(4, 16 - len(count)), glyphs=glyphs), Cell(count)]


def took(run: Run, now: float) -> Shown:
    """How long it has taken so far, or did."""
    if not run.started_at:
        return Cell("-", "dim")
    return texts.span((run.finished_at or now) - run.started_at)


def _age(run: Run, now: float) -> str:
    return texts.span(now - run.created_at)


def _done(run: Run) -> int:
    return sum(run.counts.get(state, 0) for state in ("succeeded", "skipped", "failed", "cancelled"))


def _pipeline(run: Run) -> tuple[str, float]:
    return run.pipeline, -run.created_at
