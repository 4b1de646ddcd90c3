"""What a commit tells whoever follows the store on the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_proto.v1 import work_pb2
from gamenode_server.records import Node, PipelineVersion, User


@dataclass(frozen=True, slots=True)
class Commit:
    """What one commit changed, for whoever follows. `nodes` has None for one that was removed.

    `loaded` has the runs that came into memory, as they were; `touched` those whose place in memory is to be settled.
    """

    events: Sequence[work_pb2.Event]
    effects: Sequence[object]
    runs: Mapping[str, Run]
    tasks: Mapping[str, Task]
    nodes: Mapping[str, Node | None]
    pipelines: Mapping[tuple[str, int], PipelineVersion]
    users: Mapping[str, User]
    forgotten_runs: Sequence[str]
    loaded: Sequence[tuple[Run, Sequence[Task]]]
    touched: Set[str]

    def __bool__(self) -> bool:
        followed = (self.nodes, self.pipelines, self.users, self.touched, self.forgotten_runs)
        return bool(self.events or self.effects or any(followed))
