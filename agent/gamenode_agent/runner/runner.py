"""Every task of this agent: takes assignments and commands from the link, gives tasks their slots, and finds again what
ran while nobody looked.

Knows no session: what it has to say goes into the journal's outbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gamenode_agent.engines.processes import as_attempt
from gamenode_agent.journal import Attempt, Contents, Entry, Journal, StorageFull, TaskRow
from gamenode_agent.runner.admission import Admission
from gamenode_agent.runner.bundles import Bundle, Bundles
from gamenode_agent.runner.live import LiveTask
from gamenode_agent.runner.shell import Shell
from gamenode_agent.supervisor.client import AttemptReport
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    TaskAccepted,
    TaskEvent,
    TaskEventBody,
    TaskRefused,
    TaskStarted,
)
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_state import idles
from gamenode_proto.codec.gates import decision_from_proto
from gamenode_proto.codec.work import cancel_from_proto, held_to_proto, task_event_to_proto, task_from_proto
from gamenode_proto.v1.agent_link_pb2 import Assign, Cancel, Decide, Forget, InventoryTask, OutboxRecord
from gamenode_proto.v1.work_pb2 import Task as TaskMessage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Over:
    """An assignment that is over here, until the server has its last record."""

    fence: int
    state: str
    last_seq: int


class Runner:
    """The tasks of this agent. Everything on one loop; the methods of the link's `Work` return at once."""

    def __init__(
        self,
        shell: Shell,
        *,
        admission: Admission,
        bundles: Bundles,
        slots: int,
        server_clock: Callable[[], float],
        acked: Callable[[], int],
    ) -> None:
        self._shell = shell
        self._journal: Journal = shell.journal
        self._admission = admission
        self._bundles = bundles
        self._slots = slots
        self._server_clock = server_clock
        self._acked = acked
        self._live: dict[str, LiveTask] = {}
        self._holding: set[LiveTask] = set()
        self._queue: deque[LiveTask] = deque()
        #: The highest fence seen of every task that is not forgotten.
        self._fences: dict[str, int] = {}
        self._over: dict[str, _Over] = {}
        self._last_seq: dict[str, int] = {}
        self._fetching: set[tuple[str, int]] = set()
        #: Ends that were told before `restore` had their tasks; None once it has them all.
        self._early: list[AttemptReport] | None = []

    @property
    def tasks_running(self) -> int:
        """Tasks that hold a slot."""
        return len(self._holding)

    @property
    def tasks_waiting(self) -> int:
        """Tasks that wait for a slot."""
        return len(self._queue)

    def live_keys(self) -> frozenset[tuple[str, int]]:
        """Id and fence of every task that is not over here."""
        return frozenset(live.key for live in self._live.values())

    def digests_in_use(self) -> frozenset[str]:
        """The bundles that live tasks were made from."""
        return frozenset(live.digest for live in self._live.values())

    def inventory(self) -> list[InventoryTask]:
        """What a Hello says: every assignment that is not over, or whose end the server may not have yet."""
        self._let_go(self._acked())
        held = [Held(task_id, live.task.fence, live.task.state) for task_id, live in self._live.items()]
        for task_id, over in self._over.items():
            if task_id not in self._live:
                held.append(Held(task_id, over.fence, TaskState(over.state)))
        return [held_to_proto(each) for each in held]

    # -- what the server asks for --------------------------------------------------------------------------------------

    def assign(self, assign: Assign) -> None:
        """A task to run."""
        task_id, fence = assign.task.id, assign.task.fence
        known = self._fences.get(task_id, 0)
        if fence == known or (task_id, fence) in self._fetching:
            # Its acceptance, or what became of it, is in the outbox and on its way.
            logger.debug("the assignment is known", extra={"task": task_id, "fence": fence})
            return
        if fence < known:
            error = Error(Code.SUPERSEDED, f"assignment {known} of this task is newer than {fence}")
            self._spawn(self._record(task_id, fence, TaskRefused(error)))
            return
        try:
            digest = self._admission.digest_of(assign, server_now=self._server_clock())
            bundle = self._bundles.at_hand(digest, assign.bundle)
        except GameNodeError as error:
            self._refuse(task_id, fence, error.error)
            return
        before = self._live.get(task_id)
        if bundle is not None and before is None:
            self._admit(assign.task, digest, bundle, assign.bundle)
        else:
            self._fetching.add((task_id, fence))
            self._spawn(self._admit_later(assign, digest, bundle, before))

    def cancel(self, cancel: Cancel) -> None:
        """A task to end. One that never came is remembered as cancelled, so that it cannot come late."""
        task_id, fence = cancel.task_id, cancel.fence
        body = CancelRequested(cancel_from_proto(cancel.cancel))
        known = self._fences.get(task_id, 0)
        live = self._live.get(task_id)
        if live is not None and live.task.fence == fence:
            live.deliver(body)
        elif fence > known:
            self._fences[task_id] = fence
            if live is not None:
                self._spawn(self._give_up(live))
            self._spawn(self._record(task_id, fence, body, state=TaskState.CANCELLED))

    def decide(self, decide: Decide) -> None:
        """What was said to a step that waits; of any other it is no news."""
        live = self._live.get(decide.task_id)
        step = live.task.steps.get(decide.step_id) if live is not None else None
        if live is not None and live.task.fence == decide.fence and step is not None and not step.state.ended:
            asking = (decide.task_id, decide.fence, decide.step_id)
            self._shell.tools.answers.put(asking, decision_from_proto(decide.decision))

    def forget(self, forget: Forget) -> None:
        """Assignments that are settled for the server. One that still runs here is stopped: its task is not its own."""
        for task in forget.tasks:
            live = self._live.get(task.task_id)
            if live is not None and live.task.fence == task.fence:
                logger.warning("the server has given this assignment up: stopping it", extra=_about(live))
                self._spawn(self._give_up(live))
            over = self._over.get(task.task_id)
            if over is not None and over.fence <= task.fence:
                del self._over[task.task_id]

    def cancel_everything(self, by: str, reason: str) -> None:
        """Ends every task, by force."""
        at = self._shell.clock.now()
        for live in list(self._live.values()):
            live.deliver(CancelRequested(CancelInfo(by, reason, True, at)))

    # -- what the supervisor says --------------------------------------------------------------------------------------

    def attempt_ended(self, report: AttemptReport) -> None:
        """An attempt is over."""
        key = as_attempt(report.key)
        live = self._live.get(key.task_id)
        if live is None and self._early is not None:
            self._early.append(report)
        elif live is None or live.task.fence != key.fence:
            logger.debug("an attempt of no task of ours ended", extra={"task": key.task_id, "fence": key.fence})
        else:
            live.attempt_ended(report)

    def under_way(self) -> list[Attempt]:
        """Every attempt that was started and has not ended, as far as is known here."""
        return [key for live in self._live.values() for key in live.running]

    def settle(self, reports: Mapping[Attempt, AttemptReport]) -> list[Attempt]:
        """After the supervisor was out of sight: what became of every attempt under way. Returns those to be killed."""
        kill: list[Attempt] = []
        for live in list(self._live.values()):
            kill += live.settle(reports, lambda _: True)
        return kill

    # -- starting again ------------------------------------------------------------------------------------------------

    async def restore(
        self, contents: Contents, reports: Mapping[Attempt, AttemptReport], *, boot_id: str
    ) -> tuple[frozenset[tuple[str, int]], list[Attempt]]:
        """Takes up what the journal has, in the light of what the supervisor says.

        Returns the assignments it took up, some of which may be over by then, and the attempts to be killed.
        """
        taken_up: set[tuple[str, int]] = set()
        boots = {row.key: row.boot_id for row in contents.attempts if not row.ended}
        kill: list[Attempt] = []
        for row in contents.tasks:
            self._fences[row.task_id] = row.fence
            if row.ended:
                self._over[row.task_id] = _Over(row.fence, row.state, row.last_seq)
                continue
            bundle = await self._bundles.stored(row.digest)
            if bundle is None:
                # Left out of the inventory, it is declared lost by the server, which is what it is.
                logger.error("the bundle of a task is gone", extra={"task": row.task_id, "digest": row.digest})
                continue
            task = task_from_proto(TaskMessage.FromString(row.task))
            live = LiveTask(self._shell, task, bundle.plan, digest=row.digest, files=bundle.files)
            self._live[row.task_id] = live
            if task.state is TaskState.DISPATCHED:
                self._queue.append(live)
            else:
                self._holding.add(live)
            live.running.update(key for key in boots if (key.task_id, key.fence) == live.key)
            taken_up.add(live.key)
            kill += live.settle(reports, lambda key: boots[key] == boot_id)
        self._fill_slots()
        early, self._early = self._early, None
        for report in early or ():
            self.attempt_ended(report)
        return frozenset(taken_up), kill

    # -- the way in ----------------------------------------------------------------------------------------------------

    async def _admit_later(self, assign: Assign, digest: str, bundle: Bundle | None, before: LiveTask | None) -> None:
        """Admits an assignment that must wait: for its bundle, or for an older one of the same task to be gone."""
        key = (assign.task.id, assign.task.fence)
        try:
            data = assign.bundle
            if bundle is None:
                bundle, data = await self._bundles.get(digest, assign.task.id)
            if before is not None:
                await self._give_up(before)
            if assign.task.fence > self._fences.get(assign.task.id, 0):  # else it was cancelled meanwhile
                self._admit(assign.task, digest, bundle, data)
        except GameNodeError as error:
            if error.code in (Code.DISCONNECTED, Code.TIMEOUT, Code.CANCELLED):
                # It was not accepted, so the server sends it again.
                logger.info("the bundle could not be fetched: %s", error.message, extra={"task": assign.task.id})
            else:
                self._refuse(*key, error.error)
        finally:
            self._fetching.discard(key)

    def _admit(self, message: TaskMessage, digest: str, bundle: Bundle, data: bytes) -> None:
        refusal = self._admission.refusal(bundle.plan)
        if refusal is not None:
            self._refuse(message.id, message.fence, refusal)
            return
        live = LiveTask(self._shell, task_from_proto(message), bundle.plan, digest=digest, files=bundle.files)
        self._fences[message.id] = message.fence
        self._over.pop(message.id, None)
        self._live[message.id] = live
        store = data if data and self._bundles.needs_storing(digest) else None
        if self._slots_taken() < self._slots and not self._queue:
            self._holding.add(live)
            live.accept(TaskAccepted(), TaskStarted(), bundle=store)
        else:
            self._queue.append(live)
            live.accept(TaskAccepted(), bundle=store)

    def _refuse(self, task_id: str, fence: int, error: Error) -> None:
        logger.warning("refused: %s", error.message, extra={"task": task_id, "fence": fence, "code": str(error.code)})
        self._fences[task_id] = fence
        self._spawn(self._record(task_id, fence, TaskRefused(error), state=TaskState.FAILED))

    async def _record(self, task_id: str, fence: int, body: TaskEventBody, *, state: TaskState | None = None) -> None:
        """Tells the server something about an assignment that never ran here; with `state`, remembers it so."""
        now = self._shell.clock.now()
        record = OutboxRecord(task_event=task_event_to_proto(TaskEvent(task_id, fence, now, body)))
        row = None if state is None else TaskRow(task_id, fence, str(state), True, "", b"", now)
        await self._commit(Entry(at=now, records=[record], task=row))
        if state is not None:
            self._over[task_id] = _Over(fence, str(state), record.seq)

    async def _give_up(self, live: LiveTask) -> None:
        """Ends an assignment without a word: its task is somewhere else by now."""
        if live.given_up:
            await live.give_up()
            return
        attempts = list(live.running)
        await live.give_up()
        task, now = live.task, self._shell.clock.now()
        row: TaskRow | None = None
        if self._fences.get(task.id) == task.fence:
            row = TaskRow(task.id, task.fence, str(TaskState.CANCELLED), True, "", b"", now)
        await self._commit(Entry(at=now, task=row, dropped=attempts))
        for key in attempts:
            self._shell.attempts.forget(key)
        self._shell.workspaces.finish(*live.key, succeeded=False)
        self._drop(live)

    async def _commit(self, entry: Entry) -> None:
        while True:
            try:
                await self._journal.commit(entry)
                return
            except StorageFull as error:
                logger.error("%s", error.message)
                await asyncio.sleep(self._shell.storage_retry)

    # -- slots ---------------------------------------------------------------------------------------------------------

    def committed(self, live: LiveTask, seq: int) -> None:
        """The newest record that tells of a task."""
        self._last_seq[live.task.id] = seq
        if self._queue:
            self._fill_slots()  # it may only wait from here on

    def release(self, live: LiveTask) -> None:
        """A task is over here: its slot goes to the next one."""
        task = live.task
        self._over[task.id] = _Over(task.fence, str(task.state), self._last_seq.get(task.id, 0))
        self._drop(live)
        if len(self._over) > 256:
            self._let_go(self._acked())

    def _drop(self, live: LiveTask) -> None:
        if self._live.get(live.task.id) is live:
            del self._live[live.task.id]
            self._last_seq.pop(live.task.id, None)
        self._holding.discard(live)
        if live in self._queue:
            self._queue.remove(live)
        self._fill_slots()

    def forgotten(self, task_ids: Iterable[str]) -> None:
        """The journal has dropped these tasks."""
        for task_id in task_ids:
            if task_id not in self._live:
                self._fences.pop(task_id, None)

    def _slots_taken(self) -> int:
        return sum(not idles(live.task) for live in self._holding)

    def _fill_slots(self) -> None:
        while self._queue and self._slots_taken() < self._slots:
            live = self._queue.popleft()
            self._holding.add(live)
            live.deliver(TaskStarted())

    def _let_go(self, acked: int) -> None:
        """Drops what is kept of assignments whose end the server has."""
        for task_id, over in list(self._over.items()):
            if over.last_seq <= acked:
                del self._over[task_id]

    def _spawn(self, work: object) -> None:
        self._shell.group.create_task(work)  # type: ignore[arg-type]


def _about(live: LiveTask) -> dict[str, object]:
    return {"task": live.task.id, "fence": live.task.fence}
