"""Steps that leave a trace of every time they really ran, and the checker that reads the traces.

The history checker of the fault tests: it knows nothing of GameNode's own records, only what steps did in the world.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

from gamenode_console.gateway import Gateway
from gamenode_proto.v1 import common_pb2
from support.play import IMAGE

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

#: A process, a container that is left running, a container that runs to its end, and what looks after the first: each
#: says in the trace, in its own folder on the host, that it was started.
CONTAINERS = """
pipeline: container-effects
params:
  folder: {type: string}
  lines: {type: integer, default: 60}
timeout: 10m
on_lost: %(on_lost)s
env: {LINES: "${{ params.lines }}"}
steps:
  - id: first
    idempotent: %(idempotent)s
    env: {TRACE: "${{ params.folder }}/trace"}
    run: |
      echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> "$TRACE"
      i=0
      while [ "$i" -lt "$LINES" ]; do
        echo "line $i"
        i=$((i + 1))
        if [ $((i %% (LINES / 4))) -eq 0 ]; then sleep 0.1; fi
      done
  - id: serve
    uses: container.run
    with:
      name: "game-${{ task.id }}"
      image: %(image)s
      network: none
      restart: on-failure
      volumes: ["${{ params.folder }}:/effects"]
      command: [sh, -c, '%(trace)s; echo ready; while :; do sleep 0.05; done']
  - id: job
    uses: container.job
    idempotent: %(idempotent)s
    with:
      image: %(image)s
      network: none
      volumes: ["${{ params.folder }}:/effects"]
      command: [sh, -c, '%(trace)s; i=0; while [ $i -lt $LINES ]; do echo "line $i"; i=$((i + 1)); sleep 0.02; done']
  - id: up
    uses: container.wait
    with: {name: "game-${{ task.id }}", for: log, pattern: ready}
%(exec)sfinally:
  - id: gone
    uses: container.remove
    with: {name: "game-${{ task.id }}"}
"""
_TRACE = (
    'trap "exit 143" TERM; '
    'echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> /effects/trace'
)
_EXEC = """\
  - id: inside
    uses: container.exec
    with: {name: "game-${{ task.id }}", command: [sh, -c, '%(trace)s']}
"""


def pipeline(*, idempotent: bool) -> str:
    """The pipeline's text. An idempotent one is run again when it is lost, the other one asks a person."""
    words = {"on_lost": "retry" if idempotent else "wait", "idempotent": "true" if idempotent else "false"}
    return PIPELINE % words


def container_pipeline(*, idempotent: bool, inside: bool) -> str:
    """The pipeline with containers; `inside`: with a command in the one that runs on, which does not survive Docker."""
    words = {"on_lost": "retry" if idempotent else "wait", "idempotent": "true" if idempotent else "false"}
    words |= {"image": IMAGE, "trace": _TRACE, "exec": _EXEC % {"trace": _TRACE} if inside else ""}
    return CONTAINERS % words


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


def check_lines(text: str, expected: int, *, what: str, cut_short: bool = False) -> list[str]:
    """What is wrong with the numbered lines of a step's log; one that was cut short has the first of them."""
    lines = text.splitlines()
    wanted = [f"line {number}" for number in range(len(lines) if cut_short else expected)]
    if lines == wanted:
        return []
    missing = len(set(wanted) - set(lines))
    repeated = len(lines) - len(set(lines))
    ends = f"from {lines[0]!r} to {lines[-1]!r}" if lines else "none"
    return [f"{what}: {len(lines)} lines ({ends}), {missing} missing, {repeated} repeated, expected {expected}"]


async def whole_log(gateway: Gateway, ref: common_pb2.AttemptRef) -> str:
    """All of an attempt's log that the server has."""
    text = bytearray()
    while True:
        piece = await gateway.state.read_log(ref, offset=len(text), limit=1 << 20)
        text += piece.data
        if not piece.data:
            return text.decode()
