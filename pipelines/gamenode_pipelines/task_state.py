"""A task as a value: what is known of a run's share on one node. Data and questions about it, no transitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamenode_pipelines.errors import Error
from gamenode_pipelines.events import CancelInfo, LogSummary
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.states import StepState, TaskState


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What expressions may know of the node; fixed when the task is assigned."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a task as it stands. `attempt` is 0 until the first one starts.

    A skipped step carries an error only where it was skipped because of another step's end, never where its own
    condition was false: the one holds its dependents back, the other lets them run.
    """

    id: str
    state: StepState = StepState.PENDING
    attempt: int = 0
    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    finished_at: float = 0.0
    log: LogSummary | None = None
    retry_at: float = 0.0
    final: bool = False
    #: It waits, for a person or for players to leave, and needs nothing of its node.
    idle: bool = False

    @property
    def open(self) -> bool:
        """Whether it stands for other steps that are under way: it has no attempt of its own."""
        return self.state is StepState.RUNNING and self.attempt == 0


@dataclass(frozen=True, slots=True)
class Task:
    """A run's share on one node. `steps` is in the plan's order, main steps first, then `finally`.

    `started_at` is that of the assignment in force, and so is the deadline counted from it.
    """

    id: str
    run_id: str
    node: NodeFacts
    steps: Mapping[str, Step]
    state: TaskState = TaskState.PENDING
    fence: int = 0
    error: Error | None = None
    cancel: CancelInfo | None = None
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    accepted: bool = False
    position: int = 0
    #: What the main steps came to, once `finally` runs.
    outcome: TaskState | None = None
    finally_started_at: float = 0.0
    #: Where it stood when the server gave it up while its node was out of reach; the node may still tell.
    lost_from: TaskState | None = None
    #: Of the tasks of a group only one is with its node at a time; empty for none.
    group: str = ""
    #: Its agent has been asked to end it while its run goes on.
    cancel_wanted: CancelInfo | None = None


#: An assignment is in force: what becomes of it is the agent's to say.
_ON_NODE = frozenset({TaskState.DISPATCHED, TaskState.RUNNING, TaskState.WAITING, TaskState.CANCELLING})


def new_task(
    *, id: str, run_id: str, node: NodeFacts, plan: Plan, created_at: float, position: int = 0, group: str = ""
) -> Task:
    """A pending task with every step of the plan pending."""
    steps = {step.id: Step(step.id) for step in plan.steps}
    for step in plan.finally_:
        steps[step.id] = Step(step.id, final=True)
    return Task(id, run_id, node, steps, created_at=created_at, position=position, group=group)


def on_node(task: Task) -> bool:
    """Whether the task's assignment may be alive on its node, so that only the agent may say what becomes of it.

    A cancel of such a task is sent to the agent, which answers with `CancelRequested`; of any other live task the
    server folds `CancelRequested` itself.
    """
    return task.state in _ON_NODE or task.lost_from is not None


def idles(task: Task) -> bool:
    """Whether all that is under way in a task waits, for a person or for players to leave: it takes no slot then."""
    if task.state is not TaskState.RUNNING:
        return False
    under_way = [step for step in task.steps.values() if step.state is StepState.RUNNING and not step.open]
    return bool(under_way) and all(step.idle for step in under_way)
