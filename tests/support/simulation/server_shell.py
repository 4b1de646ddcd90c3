"""The server around the two machines: runs and tasks on disk, a session a node, reconciliation at each hello."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from gamenode_pipelines import runs, tasks
from gamenode_pipelines.effects import CancelTasks, Ignored, Reassign, SkipPendingTasks, StartTasks
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    CancelWanted,
    TaskAccepted,
    TaskAssigned,
    TaskEvent,
    TaskEventBody,
    TaskLost,
    TaskResolved,
    TaskSkipped,
)
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.reconcile import (
    CancelHere,
    DeclareLost,
    Expected,
    Forget,
    ReportUnknown,
    SendAssign,
    SendCancel,
    Supersede,
    TakeUp,
    reconcile,
)
from gamenode_pipelines.rollout import Rollout
from gamenode_pipelines.runs import Run, RunCancelRequested, RunCreated, RunEvent, TaskChanged
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import NodeFacts, Task
from support.simulation.loop import Committer, Fold, Life, Loop
from support.simulation.network import Ack, Assign, Cancel, Drop, Frame, Hello, Link, Updates, Welcome

#: A node silent for so long is given up on.
OUT_OF_REACH = 8.0


@dataclass(slots=True)
class NodeRow:
    epoch: int = 0
    outbox_id: str = ""
    acked: int = 0


@dataclass(slots=True)
class Database:
    """What is on the server's disk."""

    nodes: dict[str, NodeRow] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    first: dict[str, Task] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    on_node: dict[str, list[str]] = field(default_factory=dict)
    of_run: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, list[TaskEvent]] = field(default_factory=dict)
    #: Every outbox record that was ever applied.
    applied: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


class ServerShell:
    """The server. `fold` and `dedupe` are there to be broken by the tests of the checker."""

    def __init__(self, loop: Loop, rng: Random, *, fold: Fold = tasks.step, dedupe: bool = True) -> None:
        self.life = Life()
        self.disk = Database()
        self._loop = loop
        self._rng = rng
        self._step = fold
        self._dedupe = dedupe
        self._writer = Committer(loop, lambda: rng.uniform(0.0005, 0.01))
        self._sessions: dict[str, Link] = {}
        self._seen: dict[str, float] = {}
        self._links: list[Link] = []
        self._todo: list[Callable[[], None]] = []
        self.actions: Counter[type] = Counter()

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what a crash left undone."""
        if self._loop.now and not self.life.alive:
            self.life = Life()
        self._sessions.clear()
        self._seen = dict.fromkeys(self.disk.nodes, self._loop.now)
        self._transaction(self._settle)
        self._loop.later(3.0, self.life, self._watch)

    def crash(self) -> None:
        self.life.alive = False
        self._sessions.clear()
        for link in self._links:
            link.cut()
        self._links.clear()

    def attach(self, link: Link) -> None:
        """A new connection, which says hello next."""
        self._links.append(link)

    def _transaction(self, operation: Callable[[], None]) -> None:
        def whole() -> Callable[[], None]:
            operation()
            todo, self._todo = self._todo, []

            def after() -> None:
                for do in todo:
                    do()

            return after

        self._writer.apply(self.life, whole)

    def _settle(self) -> None:
        for run in tuple(self.disk.runs.values()):
            if run.state.ended:
                continue
            if run.cancel is not None:
                self._cancel_tasks(run.id)
            elif runs.stops_starting(run):
                self._skip_pending(run.id)

    # -- operators -------------------------------------------------------------------------------------------------

    def create(self, run_id: str, plan: Plan, nodes: list[str], *, max_parallel: int, max_failures: int) -> None:
        def operation() -> None:
            disk, now = self.disk, self._loop.now
            disk.plans[run_id] = plan
            disk.runs[run_id] = Run(
                run_id,
                plan.pipeline,
                1,
                len(nodes),
                created_at=now,
                rollout=Rollout(max_parallel, max_failures),
            )
            disk.of_run[run_id] = []
            for position, node in enumerate(nodes):
                facts = NodeFacts(node, node)
                id = f"{run_id}.{position}"
                task = tasks.new_task(id=id, run_id=run_id, node=facts, plan=plan, created_at=now, position=position)
                disk.first[id] = disk.tasks[id] = task
                disk.events[id] = []
                disk.of_run[run_id].append(id)
                disk.on_node.setdefault(node, []).append(id)
            self._run_event(run_id, RunCreated())

        self._transaction(operation)

    def cancel(self, run_id: str, *, force: bool) -> None:
        def operation() -> None:
            run = self.disk.runs.get(run_id)
            if run is not None and not run.state.ended:
                self._run_event(run_id, RunCancelRequested(CancelInfo("ops", "", force, self._loop.now)))

        self._transaction(operation)

    def cancel_task(self, choose: Callable[[list[Task]], Task]) -> None:
        """Ends one task of a run that goes on."""

        def operation() -> None:
            live = [t for t in self.disk.tasks.values() if not t.state.ended]
            if not live:
                return
            task, cancel = choose(live), CancelInfo("another run", at=self._loop.now)
            if not tasks.on_node(task):
                self._fold(task.id, task.fence, CancelRequested(cancel))
            elif task.cancel is None and task.cancel_wanted is None:
                self._fold(task.id, task.fence, CancelWanted(cancel))
                self._to_node(task.node.id, Cancel(task.id, task.fence, cancel))

        self._transaction(operation)

    def resolve(
        self, choose: Callable[[list[Task]], tuple[Task, Literal["succeeded", "failed", "retry"]] | None]
    ) -> None:
        def operation() -> None:
            stuck = [t for t in self.disk.tasks.values() if t.state is TaskState.NEEDS_ATTENTION]
            chosen = choose(stuck) if stuck else None
            if chosen is not None:
                task, as_ = chosen
                if as_ == "retry" and self.disk.runs[task.run_id].cancel is not None:
                    return
                self._fold(task.id, task.fence, TaskResolved(as_, "kim", "looked"))
                self._fill(task.node.id)

        self._transaction(operation)

    # -- the machines ----------------------------------------------------------------------------------------------

    def _fold(self, task_id: str, fence: int, body: TaskEventBody) -> Task:
        return self._fold_event(TaskEvent(task_id, fence, self._loop.now, body))

    def _fold_event(self, event: TaskEvent) -> Task:
        disk = self.disk
        old = disk.tasks[event.task_id]
        new, effects = self._step(old, disk.plans[old.run_id], event)
        disk.events[old.id].append(event)
        if new is old:
            assert any(isinstance(effect, Ignored) for effect in effects)
            return old
        assert not old.state.ended, f"{old.id} moved after its end: {event}"
        assert new.fence >= old.fence
        disk.tasks[new.id] = new
        if new.state is not old.state:
            self._run_event(new.run_id, TaskChanged(old.state, new.state, new.position))
        if any(isinstance(effect, Reassign) for effect in effects):
            cancel = disk.runs[new.run_id].cancel or new.cancel_wanted
            if cancel is not None:  # nobody wants it run again
                return self._fold(new.id, new.fence, CancelRequested(cancel))
            self._fill(new.node.id)
        return new

    def _run_event(self, run_id: str, event: RunEvent) -> None:
        old = self.disk.runs[run_id]
        new, effects = runs.step(old, event, self._loop.now)
        assert new is old or not old.state.ended
        self.disk.runs[run_id] = new
        for effect in effects:
            match effect:
                case StartTasks():
                    for task_id in self.disk.of_run[run_id]:
                        self._fill(self.disk.tasks[task_id].node.id)
                case CancelTasks():
                    self._cancel_tasks(run_id)
                case SkipPendingTasks():
                    self._skip_pending(run_id)
                case _:
                    pass

    def _cancel_tasks(self, run_id: str) -> None:
        cancel = self.disk.runs[run_id].cancel
        assert cancel is not None
        for task_id in self.disk.of_run[run_id]:
            task = self.disk.tasks[task_id]
            if task.state.ended:
                continue
            if tasks.on_node(task):
                self._to_node(task.node.id, Cancel(task.id, task.fence, cancel))
            else:
                self._fold(task.id, task.fence, CancelRequested(cancel))

    def _skip_pending(self, run_id: str) -> None:
        for task_id in self.disk.of_run[run_id]:
            task = self.disk.tasks[task_id]
            if task.state is TaskState.PENDING:
                self._fold(task.id, task.fence, TaskSkipped("too many tasks failed"))

    def _fill(self, node: str) -> None:
        """Gives the node what may start there."""
        if node not in self._sessions:
            return
        for task_id in self.disk.on_node.get(node, ()):
            task = self.disk.tasks[task_id]
            run = self.disk.runs[task.run_id]
            due = task.state is TaskState.PENDING and task.position < run.started and not runs.stops_starting(run)
            if due or (task.state is TaskState.LOST and task.lost_from is None and run.cancel is None):
                task = self._fold(task.id, task.fence + 1, TaskAssigned())
                self._to_node(node, Assign(task, self.disk.plans[task.run_id]))

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _to_node(self, node: str, frame: Frame) -> None:
        """Sent after the commit, over the session there is then."""

        def send() -> None:
            link = self._sessions.get(node)
            if link is not None:
                link.to_agent(frame)

        self._todo.append(send)

    def receive(self, link: Link, frame: Frame) -> None:
        match frame:
            case Hello():
                self._transaction(lambda: self._hello(link, frame))
            case Updates(records=records):
                self._transaction(lambda: self._updates(link, records))
            case _:
                raise AssertionError(f"a server got {frame}")

    def link_lost(self, link: Link) -> None:
        for node, current in tuple(self._sessions.items()):
            if current is link:
                del self._sessions[node]
                self._seen[node] = self._loop.now

    def _hello(self, link: Link, hello: Hello) -> None:
        disk = self.disk
        node = hello.node
        row = disk.nodes.setdefault(node, NodeRow())
        if link.epoch or not link.open:  # said twice, or gone already
            return
        before = row.epoch
        row.epoch = link.epoch = max(row.epoch, hello.max_epoch) + 1
        assert row.epoch > before
        known = row.outbox_id in ("", hello.outbox_id)
        if row.outbox_id != hello.outbox_id:
            row.outbox_id, row.acked = hello.outbox_id, 0
        older = self._sessions.get(node)
        self._sessions[node] = link
        self._seen[node] = self._loop.now
        welcome = Welcome(row.epoch, row.acked)

        def activate() -> None:
            if older is not None and older is not link:
                older.cut()
            link.to_agent(welcome)

        self._todo.append(activate)
        mine = disk.on_node.get(node, [])
        named = {held.task_id for held in hello.inventory}
        expected = [
            self._expected(task) for task in (disk.tasks[id] for id in mine) if not task.state.ended or task.id in named
        ]
        for action in reconcile(expected, hello.inventory, outbox_known=known):
            self.actions[type(action)] += 1
            task = disk.tasks[action.task_id]
            match action:
                case SendAssign():
                    self._to_node(node, Assign(task, disk.plans[task.run_id]))
                case SendCancel(task_id=id, fence=fence, cancel=cancel):
                    self._to_node(node, Cancel(id, fence, cancel))
                case CancelHere(task_id=id, fence=fence, cancel=cancel):
                    self._fold(id, fence, CancelRequested(cancel))
                case DeclareLost(task_id=id, fence=fence, reason=reason):
                    self._fold(id, fence, TaskLost(reason, gone=True))
                case TakeUp(task_id=id, fence=fence):
                    self._fold(id, fence, TaskAccepted())
                case Supersede(task_id=id, fence=fence) | Forget(task_id=id, fence=fence):
                    self._to_node(node, Drop(id, fence))
                case ReportUnknown():
                    raise AssertionError(f"nobody restored a backup: {action}")
        self._fill(node)

    def _expected(self, task: Task) -> Expected:
        cancel = self.disk.runs[task.run_id].cancel or task.cancel_wanted
        if cancel == task.cancel:
            cancel = None
        return Expected(task.id, task.fence, task.state, task.accepted, cancel, task.lost_from is not None)

    def _updates(self, link: Link, records: tuple[tuple[int, TaskEvent], ...]) -> None:
        node = next((n for n, current in self._sessions.items() if current is link), None)
        if node is None:
            return
        row = self.disk.nodes[node]
        assert row.epoch == link.epoch
        for seq, event in records:
            if seq <= row.acked and self._dedupe:
                continue
            if seq > row.acked + 1:
                link.cut()
                break
            self.disk.applied.setdefault(node, []).append((row.outbox_id, seq))
            self._fold_event(event)
            row.acked = max(seq, row.acked)
        self._seen[node] = self._loop.now
        acked = row.acked
        self._todo.append(lambda: link.to_agent(Ack(acked)))

    def _watch(self) -> None:
        """Gives up on nodes that have been out of reach for long."""

        def operation() -> None:
            for node in self.disk.nodes:
                if node in self._sessions or self._loop.now - self._seen.get(node, 0.0) < OUT_OF_REACH:
                    continue
                for id in self.disk.on_node.get(node, ()):
                    task = self.disk.tasks[id]
                    if tasks.on_node(task) and task.lost_from is None:
                        self._fold(id, task.fence, TaskLost(f"node {node} is out of reach"))

        self._transaction(operation)
        self._loop.later(3.0, self.life, self._watch)
