"""The agent around the task machine: a journal, an outbox, timers, and the supervisor's client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from gamenode_pipelines import tasks
from gamenode_pipelines.effects import (
    FinishTask,
    Ignored,
    Reassign,
    StartFinallyTimer,
    StartRetryTimer,
    StartStep,
    StopStep,
    TaskEffect,
)
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import (
    CancelRequested,
    FinallyTimedOut,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskEvent,
    TaskEventBody,
    TaskRefused,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.recovery import Adopt, Decision, Evidence, Harvest, Lost, Respawn
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.tasks import Task
from support.simulation.host import Exit, Host, Key
from support.simulation.loop import Committer, Fold, Life, Loop
from support.simulation.network import Ack, Assign, Cancel, Drop, Frame, Hello, Link, Updates, Welcome


@dataclass(slots=True)
class Kept:
    """One assignment in the journal."""

    task: Task
    plan: Plan
    last_seq: int = 0


@dataclass(slots=True)
class Journal:
    """What is on the agent's disk."""

    outbox_id: str
    kept: dict[str, Kept] = field(default_factory=dict)
    outbox: list[tuple[int, TaskEvent]] = field(default_factory=list)
    last_seq: int = 0
    max_epoch: int = 0
    #: The highest assignment of each task that was ever taken: a frame that comes again starts nothing.
    fences: dict[str, int] = field(default_factory=dict)


Todo = list[tuple[str, int, TaskEffect]]


class AgentShell:
    """One node's agent. `connect` opens a link; `observe` hears of every task it stores."""

    def __init__(
        self,
        node: str,
        loop: Loop,
        rng: Random,
        host: Host,
        *,
        connect: Callable[[AgentShell], Link | None],
        fold: Fold,
        decide: Callable[[Evidence], Decision],
        observe: Callable[[Task, Iterable[Key]], None],
    ) -> None:
        self.node = node
        self.life = Life()
        self.life.alive = False
        self.disk = Journal(f"{node}-1")
        self._loop = loop
        self._rng = rng
        self._host = host
        self._connect = connect
        self._step = fold
        self._decide = decide
        self._observe = observe
        self._writer = Committer(loop, lambda: rng.uniform(0.0005, 0.01))
        self._link: Link | None = None
        self._welcomed = False
        self._sent = 0

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Puts journal and supervisor together, then looks for the server."""
        if self.life.alive:
            return
        self.life = Life()
        self._link, self._welcomed = None, False
        self._host.on_ended = self._ended
        self._host.on_lost = self.supervisor_lost
        self._writer.apply(self.life, self._recover)
        self._loop.later(self._rng.uniform(0.01, 1.0), self.life, self._dial)

    @property
    def connected(self) -> bool:
        """A session is open and nothing is under way in it."""
        link = self._link
        return link is not None and link.open and self._welcomed and not self.disk.outbox

    def crash(self) -> None:
        self.life.alive = False
        self.cut()

    def cut(self) -> None:
        """Its session breaks."""
        if self._link is not None:
            self._link.cut()

    def wipe(self, number: int) -> None:
        """A new disk in an old machine."""
        self.crash()
        self._host.reboot()
        self._host.records.clear()
        self.disk = Journal(f"{self.node}-{number}", max_epoch=0)

    def supervisor_lost(self) -> None:
        """The agent's connection to its supervisor broke."""
        if self.life.alive:
            self._writer.apply(self.life, self._recover)

    def _recover(self) -> Callable[[], None]:
        host = self._host
        host.start_supervisor()
        todo: Todo = []
        for kept in tuple(self.disk.kept.values()):
            self._recover_task(kept, todo)
        mine = {(k.task.id, k.task.fence) for k in self.disk.kept.values() if not _is_over(k.task)}
        for key in tuple(host.processes):
            if (key.task_id, key.fence) not in mine:
                host.stop(key, force=True, reason="superseded")

        def after() -> None:
            self._carry_out(todo)

        return after

    def _recover_task(self, kept: Kept, todo: Todo) -> None:
        task = kept.task
        if _is_over(task):
            return
        if task.state is TaskState.DISPATCHED:
            self._fold(kept, TaskStarted(), todo)
            return
        outstanding = tasks.outstanding(task, kept.plan)
        stopping = {effect.step_id for effect in outstanding if isinstance(effect, StopStep)}
        for step in tuple(task.steps.values()):
            if step.state is not StepState.RUNNING:
                continue
            key = Key(task.id, task.fence, step.id, step.attempt)
            match self._decide(self._host.evidence(key)):
                case Respawn() if step.id in stopping:  # it never ran, and shall not
                    self._fold(kept, StepEnded(step.id, step.attempt, None, Error(Code.CANCELLED, "never ran")), todo)
                case Respawn():
                    todo.append((task.id, task.fence, StartStep(step.id, step.attempt)))
                case Harvest():
                    exit = self._host.records[key].exit
                    assert exit is not None
                    self._fold(kept, self._end(key, exit), todo)
                case Adopt():
                    pass
                case Lost(reason=reason):
                    self._fold(kept, StepLost(step.id, step.attempt, reason), todo)
        if kept.task.started_at:
            self._arm_timeout(kept)
        todo.extend((task.id, task.fence, effect) for effect in tasks.outstanding(kept.task, kept.plan))

    # -- the server ------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._link = self._connect(self)
        self._welcomed = False
        if self._link is None:
            self._loop.later(self._rng.uniform(0.1, 3.0), self.life, self._dial)
            return
        # Through the writer: what an earlier session brought is stored before the inventory is read.
        self._writer.apply(self.life, lambda link=self._link: self._hello(link))  # type: ignore[misc]

    def _hello(self, link: Link) -> Callable[[], None]:
        disk = self.disk
        held = tuple(Held(k.task.id, k.task.fence, k.task.state) for k in disk.kept.values())
        hello = Hello(self.node, disk.outbox_id, disk.max_epoch, held)
        return lambda: link.to_server(hello)

    def link_lost(self, link: Link) -> None:
        if link is self._link:
            self._link, self._welcomed = None, False
            self._loop.later(self._rng.uniform(0.05, 2.0), self.life, self._dial)

    def receive(self, link: Link, frame: Frame) -> None:
        if link is not self._link:
            return
        match frame:
            case Welcome(epoch=epoch, acked=acked):
                self._writer.apply(self.life, lambda: self._welcome(link, epoch, acked))
            case Ack(acked=acked):
                self._writer.apply(self.life, lambda: self._acked(acked))
            case Assign(task=task, plan=plan):
                self._assign(task, plan)
            case Cancel(task_id=task_id, fence=fence, cancel=cancel):
                self._apply(task_id, fence, CancelRequested(cancel))
            case Drop(task_id=task_id, fence=fence):
                self._writer.apply(self.life, lambda: self._drop(task_id, fence))
            case _:
                raise AssertionError(f"an agent got {frame}")

    def _welcome(self, link: Link, epoch: int, acked: int) -> Callable[[], None]:
        assert epoch >= self.disk.max_epoch, "a session's epoch went back"
        self.disk.max_epoch = epoch
        self._acked(acked)

        def after() -> None:
            if link is self._link:
                self._welcomed, self._sent = True, acked
                self._send()

        return after

    def _acked(self, acked: int) -> None:
        disk = self.disk
        disk.outbox = [record for record in disk.outbox if record[0] > acked]
        for kept in tuple(disk.kept.values()):
            if _is_over(kept.task) and kept.last_seq <= acked:
                del disk.kept[kept.task.id]

    def _send(self) -> None:
        if self._link is None or not self._welcomed:
            return
        new = tuple(record for record in self.disk.outbox if record[0] > self._sent)
        if new:
            self._sent = new[-1][0]
            self._link.to_server(Updates(new))

    def _assign(self, task: Task, plan: Plan) -> None:
        def operation() -> Callable[[], None] | None:
            disk = self.disk
            if disk.fences.get(task.id, 0) >= task.fence:
                return None
            old = disk.kept.get(task.id)
            if old is not None:
                self._drop(task.id, old.task.fence)
            if any(key.task_id == task.id for key in self._host.processes):  # the old assignment's: not yet gone
                self._host.start_supervisor()
                self._loop.later(0.05, self.life, self._assign, task, plan)
                return None
            disk.fences[task.id] = task.fence
            kept = disk.kept[task.id] = Kept(task, plan)
            todo: Todo = []
            if self._rng.random() < 0.01:
                self._fold(kept, TaskRefused(Error(Code.STORAGE_FULL, "no space left")), todo)
            else:
                self._fold(kept, TaskAccepted(), todo)
                self._fold(kept, TaskStarted(), todo)
                self._arm_timeout(kept)
            return lambda: self._carry_out(todo)

        self._writer.apply(self.life, operation)

    def _drop(self, task_id: str, fence: int) -> None:
        kept = self.disk.kept.get(task_id)
        if kept is not None and kept.task.fence == fence:
            del self.disk.kept[task_id]
            for key in tuple(self._host.processes):
                if (key.task_id, key.fence) == (task_id, fence):
                    self._host.stop(key, force=True, reason="superseded")

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _apply(self, task_id: str, fence: int, body: TaskEventBody) -> None:
        def operation() -> Callable[[], None] | None:
            kept = self.disk.kept.get(task_id)
            if kept is None or kept.task.fence != fence or _is_over(kept.task):
                return None
            todo: Todo = []
            self._fold(kept, body, todo)
            return lambda: self._carry_out(todo)

        self._writer.apply(self.life, operation)

    def _fold(self, kept: Kept, body: TaskEventBody, todo: Todo) -> bool:
        old = kept.task
        event = TaskEvent(old.id, old.fence, self._loop.now, body)
        kept.task, effects = self._step(old, kept.plan, event)
        if kept.task is old:
            assert any(isinstance(effect, Ignored) for effect in effects)
            return False
        disk = self.disk
        disk.last_seq += 1
        kept.last_seq = disk.last_seq
        disk.outbox.append((disk.last_seq, event))
        for effect in effects:
            if not isinstance(effect, StartStep) or self._fold(kept, StepStarted(effect.step_id, effect.attempt), todo):
                todo.append((old.id, old.fence, effect))
        self._observe(kept.task, self._host.processes)
        return True

    def _carry_out(self, todo: Todo) -> None:
        for task_id, fence, effect in todo:
            match effect:
                case StartStep(step_id=step_id, attempt=attempt):
                    kept = self.disk.kept.get(task_id)
                    if kept is not None and kept.task.fence == fence:
                        self._host.spawn(Key(task_id, fence, step_id, attempt), kept.plan.step(step_id))
                case StopStep(step_id=step_id, attempt=attempt, force=force, reason=reason):
                    self._host.stop(Key(task_id, fence, step_id, attempt), force=force, reason=reason)
                case StartRetryTimer(step_id=step_id, attempt=attempt, at=at):
                    self._timer(at, task_id, fence, RetryDue(step_id, attempt))
                case StartFinallyTimer(at=at):
                    self._timer(at, task_id, fence, FinallyTimedOut())
                case FinishTask():
                    pass
                case Reassign() | Ignored():
                    pass
        self._send()

    def _arm_timeout(self, kept: Kept) -> None:
        task = kept.task
        self._timer(task.started_at + kept.plan.timeout, task.id, task.fence, TaskTimedOut())

    def _timer(self, at: float, task_id: str, fence: int, body: TaskEventBody) -> None:
        self._loop.later(at - self._loop.now, self.life, self._apply, task_id, fence, body)

    def _ended(self, key: Key, exit: Exit) -> None:
        if self.life.alive:
            self._apply(key.task_id, key.fence, self._end(key, exit))

    def _end(self, key: Key, exit: Exit) -> StepEnded:
        return StepEnded(key.step_id, key.attempt, exit.code, exit.error, jitter=self._rng.random())


def _is_over(task: Task) -> bool:
    return task.state.ended or task.state in (TaskState.LOST, TaskState.NEEDS_ATTENTION)
