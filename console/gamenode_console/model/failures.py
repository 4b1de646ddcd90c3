"""What went wrong in a run, said once for all nodes on which it was the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gamenode_console import words
from gamenode_console.model.watched import current_step
from gamenode_proto.v1 import work_pb2

#: What differs from node to node in one and the same message: figures and what is long enough to be an id.
_OWN = re.compile(r"\b(?:0x[0-9a-f]+|[0-9a-f]{12,}|\d+(?:\.\d+)*)\b")
#: Nodes that are named.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which a step failed, and where."""

    step: str
    text: str
    #: Names, in the order of the run.
    nodes: tuple[str, ...]
    #: The first of their tasks.
    task_id: str

    @property
    def line(self) -> str:
        """As people read it: `install: exit status 1 on eu-1, eu-2 and 4 more`."""
        named = ", ".join(self.nodes[:NAMED])
        more = f" and {len(self.nodes) - NAMED} more" if len(self.nodes) > NAMED else ""
        return f"{self.step + ': ' if self.step else ''}{self.text} on {named}{more}"


def failures(tasks: Iterable[work_pb2.Task]) -> Sequence[Failure]:
    """The ways in which tasks failed, the most frequent first; messages that differ in figures only are the same."""
    found: dict[tuple[str, str], list[tuple[str, work_pb2.Task]]] = {}
    for task in tasks:
        if words.task_state(task.state) not in ("failed", "lost", "needs_attention"):
            continue
        step = current_step(task)
        failed = step is not None and words.step_state(step.state) in ("failed", "lost")
        error = step.error if failed and step is not None else task.error
        text = (error.message or error.code or "failed").partition("\n")[0]
        where = step.id if failed and step is not None else ""
        found.setdefault((where, _OWN.sub("N", text)), []).append((text, task))
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [
        Failure(step, alike[0][0], tuple(task.node.name for _, task in alike), alike[0][1].id)
        for (step, _), alike in ordered
    ]
