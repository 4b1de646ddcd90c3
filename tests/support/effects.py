"""Steps that leave a trace of every time they really ran, and the checker that reads the traces.

The history checker of the fault tests: it knows nothing of GameNode's own records, only what steps did in the world.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

#: Two steps that append who they are to a file (one `write`, so lines never mix), print numbered lines, and pause.
PIPELINE = """
pipeline: effects
params:
  trace: {type: string}
  lines: {type: integer, default: 200}
  pauses: {type: integer, default: 4}
timeout: 10m
on_lost: %(on_lost)s
steps:
  - id: first
    idempotent: %(idempotent)s
    env: {TRACE: "${{ params.trace }}", LINES: "${{ params.lines }}", PAUSES: "${{ params.pauses }}"}
    run: |
      echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> "$TRACE"
      i=0
      while [ "$i" -lt "$LINES" ]; do
        echo "line $i"
        i=$((i + 1))
        if [ $((i %% (LINES / PAUSES))) -eq 0 ]; then sleep 0.1; fi
      done
  - id: second
    idempotent: %(idempotent)s
    env: {TRACE: "${{ params.trace }}"}
    run: |
      echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> "$TRACE"
      echo "line 0"
      sleep 0.1
      echo "line 1"
"""


def pipeline(*, idempotent: bool) -> str:
    """The pipeline's text. An idempotent one is run again when it is lost, the other one asks a person."""
    words = {"on_lost": "retry" if idempotent else "wait", "idempotent": "true" if idempotent else "false"}
    return PIPELINE % words


@dataclass(frozen=True)
class Effect:
    """One real start of a step."""

    task_id: str
    fence: int
    step_id: str
    attempt: int


def read(trace: Path) -> list[Effect]:
    """Every trace, in order."""
    if not trace.exists():
        return []
    effects = []
    for line in trace.read_text().splitlines():
        task_id, fence, step_id, attempt = line.split()
        effects.append(Effect(task_id, int(fence), step_id, int(attempt)))
    return effects


def doubled(effects: list[Effect], *, by_attempt: bool) -> list[str]:
    """Steps that ran more often than they may.

    With `by_attempt` each attempt may run once (for steps that may be run again); without it each step may.
    """
    seen = collections.Counter(
        (e.task_id, e.fence, e.step_id, e.attempt) if by_attempt else (e.task_id, e.step_id) for e in effects
    )
    return [f"{key} ran {count} times" for key, count in seen.items() if count > 1]


def check_lines(text: str, expected: int, *, what: str) -> list[str]:
    """What is wrong with the numbered lines of a step's log."""
    lines = text.splitlines()
    wanted = [f"line {number}" for number in range(expected)]
    if lines == wanted:
        return []
    missing = len(set(wanted) - set(lines))
    repeated = len(lines) - len(set(lines))
    return [f"{what}: {len(lines)} lines, {missing} missing, {repeated} repeated, expected {expected}"]
