"""A store in memory with nodes and runs in it, and the operations of the controller one call away."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gamenode_pipelines.events import (
    LogSummary,
    StepEnded,
    StepStarted,
    TaskAccepted,
    TaskEvent,
    TaskEventBody,
    TaskStarted,
)
from gamenode_pipelines.plan import Plan, Script, StepPlan
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.rollout import Rollout
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState, TaskState
from gamenode_pipelines.task_state import Task
from gamenode_proto.codec.plan import bundle_bytes
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.connect import Greeting, open_session
from gamenode_server.controller.fanout import begin_fanout
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.updates import Applied, Record, apply_updates
from gamenode_server.hub import Hub
from gamenode_server.records import NewAudit, Node
from gamenode_server.store import Store, Tx, open_store

R = TypeVar("R")

AUDIT = NewAudit(principal="ann", method="Test", target="", outcome="ok", request="", source="unix")


class TurnableClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


def plan_of(*steps: StepPlan, timeout: float = 60.0, **more: object) -> Plan:
    """A plan; without steps, one of a single step `go`."""
    chosen = steps or (StepPlan(id="go", script=Script(text="true")),)
    return Plan(pipeline="demo", version=1, steps=chosen, timeout=timeout, **more)  # type: ignore[arg-type]


@dataclass
class Fleet:
    """The store, what it handed out, and the sequence numbers of the nodes' outboxes."""

    store: Store
    clock: TurnableClock
    hub: Hub
    plans: Plans
    effects: list[object] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)

    async def apply(self, op: Callable[[Tx], R]) -> R:
        return await self.store.apply(op)

    def take(self, kind: type[R]) -> list[R]:
        """The effects of one kind so far; they are gone then."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects[:] = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    async def node(self, name: str, *, online: bool = True, slots: int = 8, **more: object) -> str:
        """A node that has joined; with `online`, one with an open session. Its id is `ID-NAME`."""
        node = Node(
            id=f"id-{name}",
            name=name,
            joined_at=self.clock.now(),
            facts=nodes_pb2.HostFacts(slots=slots).SerializeToString(),
            **more,  # type: ignore[arg-type]
        )
        await self.apply(lambda tx: tx.put_node(node))
        if online:
            await self.connect(name, slots=slots)
        return node.id

    async def connect(
        self,
        name: str,
        *,
        inventory: Sequence[Held] = (),
        outbox_id: str = "box",
        first: int = 1,
        max_epoch: int = 0,
        slots: int = 8,
        boot_id: str = "boot",
    ) -> int:
        """Opens a session; returns its epoch."""
        node_id = f"id-{name}"
        greeting = Greeting(
            session_id=f"session-{name}",
            node_id=node_id,
            boot_id=boot_id,
            outbox_id=outbox_id,
            outbox_first=first,
            max_epoch=max_epoch,
            address="192.0.2.7",
            facts=nodes_pb2.HostFacts(slots=slots).SerializeToString(),
            inventory=inventory,
        )
        epoch = await self.apply(open_session(self.plans, greeting=greeting))
        self.epochs[node_id] = epoch
        return epoch

    async def state(self, node_id: str, state: NodeState) -> None:
        """Puts a node into a state, as the timers would."""
        node = self.stored_node(node_id)
        await self.apply(lambda tx: tx.put_node(replace(node, state=state, last_seen=self.clock.now())))

    async def run(
        self,
        *node_ids: str,
        plan: Plan | None = None,
        max_parallel: int = 0,
        max_failures: int = 1,
        id: str = "run",
        **more: object,
    ) -> Run:
        """Makes a run over these nodes; `more` are fields of `Run`."""
        made = plan or plan_of()
        data = bundle_bytes(made)
        digest = hashlib.sha256(data).hexdigest()

        def op(tx: Tx) -> None:
            tx.put_bundle(digest, data)
            fields: dict[str, object] = {"rollout": Rollout(max_parallel, max_failures), **more}
            run = Run(
                id=id,
                pipeline=made.pipeline,
                pipeline_version=made.version,
                total=len(node_ids),
                created_at=tx.now,
                bundle_digest=digest,
                counts={TaskState.PENDING: len(node_ids)},
                **fields,  # type: ignore[arg-type]
            )
            moves = Moves(tx, self.plans, actor="ann")
            begin_fanout(tx, moves, run, made, node_ids)
            moves.finish()

        await self.apply(op)
        return self.stored_run(id)

    async def report(self, node_id: str, *bodies: tuple[Task, TaskEventBody], fence: int = 0) -> Applied:
        """The node's next outbox records."""
        records = []
        for task, body in bodies:
            seq = self.seqs[node_id] = self.seqs.get(node_id, 0) + 1
            records.append(Record(seq, TaskEvent(task.id, fence or task.fence, self.clock.now(), body)))
        return await self.send(node_id, records)

    async def send(self, node_id: str, records: Sequence[Record], *, epoch: int = 0) -> Applied:
        """Records as they are."""
        return await self.apply(
            apply_updates(
                self.plans, node_id=node_id, epoch=epoch or self.epochs[node_id], records=records, source="192.0.2.7"
            )
        )

    async def begin(self, task: Task, step: str = "go", attempt: int = 1) -> None:
        """The agent takes the task and starts its first step."""
        await self.report(
            task.node.id, (task, TaskAccepted()), (task, TaskStarted()), (task, StepStarted(step, attempt))
        )

    async def end(self, task: Task, step: str = "go", attempt: int = 1, exit_code: int = 0) -> None:
        """The step ends."""
        ended = StepEnded(step, attempt, exit_code=exit_code, log=LogSummary())
        await self.report(task.node.id, (task, ended))

    def stored_run(self, run_id: str = "run") -> Run:
        run = self.store.view.run(run_id)
        assert run is not None
        return run

    def stored_node(self, node_id: str) -> Node:
        node = self.store.view.node(node_id)
        assert node is not None
        return node

    def tasks(self, run_id: str = "run") -> list[Task]:
        return list(self.store.view.tasks_of(run_id))

    def task(self, position: int = 0, run_id: str = "run") -> Task:
        return self.tasks(run_id)[position]

    async def events(self, after: int = 0) -> list[str]:
        """The types of every event behind a cursor."""
        found = []
        async for batch in self.hub.subscribe(after=after, follow=False):
            found += [event.type for event in batch.events]
        return found


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """An empty fleet."""
    hub, clock = Hub(), TurnableClock()
    effects: list[object] = []
    store = open_store(":memory:", hub=hub, on_effects=effects.extend, clock=clock, audit_key=b"k" * 32)
    try:
        yield Fleet(store, clock, hub, Plans(), effects)
    finally:
        await store.close()
