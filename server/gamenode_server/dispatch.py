"""Carries out what committed operations want done: frames to agents, sessions to begin and end, work to continue.

Owns no decision: who gets what is decided in `controller`, inside the transaction. Called on the loop, in commit order,
before whoever applied the operation hears of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, assert_never

from gamenode_pipelines.errors import Error, GameNodeError
from gamenode_proto.codec.gates import decision_to_proto
from gamenode_proto.codec.states import TASK_STATE
from gamenode_proto.codec.work import cancel_to_proto, task_to_proto
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1 import agent_link_pb2, plan_pb2
from gamenode_proto.version import PROTOCOL
from gamenode_server.controller.effects import (
    ActivateSession,
    CloseSession,
    ConfigChanged,
    ContinueRun,
    SendAssign,
    SendCancel,
    SendDecision,
    SendForget,
    ServerEffect,
    UserChanged,
)
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.settle import settle_run
from gamenode_server.intervals import Intervals
from gamenode_server.sessions import Session, Sessions
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

#: A larger bundle is fetched by its digest instead of travelling in every `Assign`.
INLINE_BUNDLE = 256 * 1024


class Signer(Protocol):
    """Signs tickets with the cluster's key."""

    def __call__(self, ticket: bytes) -> plan_pb2.SignedTicket:
        """The ticket's bytes with the signature over them."""
        ...


class Applier(Protocol):
    """The store, as far as it is needed here."""

    async def apply(self, op: Callable[[Tx], object]) -> object:
        """Runs an operation and returns once it is durable."""
        ...


class Dispatch:
    """The loop's side of every operation. `run` must be running for large runs to go on."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        plans: Plans,
        clock: Clock,
        intervals: Intervals,
        cluster_id: str,
        sign: Signer,
        end_calls: Callable[[str, Error], None],
        labels: Callable[[str], Mapping[str, str]],
        version: str,
    ) -> None:
        self._sessions = sessions
        self._plans = plans
        self._clock = clock
        self._intervals = intervals
        self._cluster_id = cluster_id
        self._sign = sign
        self._end_calls = end_calls
        self._labels = labels
        self._version = version
        #: Names this history of the store; set before anybody is let in.
        self.incarnation = ""
        #: Where agents find this server, best first.
        self.addresses: Sequence[str] = ()
        #: Hears of users; set before anybody is let in.
        self.user_changed: Callable[[UserChanged], None] = _nobody_is_in
        #: Runs that are to go on, in turn; and for each until it is done, what is set then.
        self._due: dict[str, None] = {}
        self._unfinished: dict[str, asyncio.Event] = {}
        self._wake = asyncio.Event()

    def carry_out(self, effects: Sequence[object]) -> None:
        """The store's `on_effects`: never raises, never waits."""
        for effect in effects:
            try:
                self._one(effect)  # type: ignore[arg-type] # operations hand out nothing else
            except Exception:
                # What is lost here is derived again by the timers or the node's next session.
                logger.exception("an effect could not be carried out: %s", type(effect).__name__)

    def _one(self, effect: ServerEffect) -> None:
        match effect:
            case SendAssign():
                self._assign(effect)
            case SendCancel():
                self._cancel(effect)
            case SendDecision():
                self._decide(effect)
            case SendForget():
                self._forget(effect)
            case ActivateSession(session_id=session_id, node_id=node_id, epoch=epoch, acked=acked):
                session = self._sessions.activate(session_id, node_id=node_id, epoch=epoch, acked=acked)
                if session is not None:
                    session.out.put(self._welcome(session))
            case CloseSession(node_id=node_id, error=error, forget=forget):
                self._sessions.close(node_id, error)
                self._end_calls(node_id, error)
                if forget:
                    self._sessions.forget(node_id)
            case ConfigChanged(node_id=node_id):
                session = self._sessions.get(node_id)
                if session is not None:
                    session.out.put(agent_link_pb2.ServerFrame(config=self._config(node_id)))
            case ContinueRun(run_id=run_id):
                self.resume([run_id])
            case UserChanged():
                self.user_changed(effect)
            case _:
                assert_never(effect)

    def _welcome(self, session: Session) -> agent_link_pb2.ServerFrame:
        return agent_link_pb2.ServerFrame(
            welcome=agent_link_pb2.Welcome(
                session_id=session.id,
                epoch=session.epoch,
                acked=session.acked,
                config=self._config(session.node_id),
                incarnation=self.incarnation,
                protocol=PROTOCOL,
                now=self._clock.now(),
                server_version=self._version,
            )
        )

    def _config(self, node_id: str) -> agent_link_pb2.Config:
        return agent_link_pb2.Config(
            heartbeat_interval=self._intervals.heartbeat,
            metrics_interval=self._intervals.metrics,
            addresses=self.addresses,
            labels=self._labels(node_id),
        )

    def _assign(self, effect: SendAssign) -> None:
        task = effect.task
        session = self._sessions.get(task.node.id)
        if session is None:
            return
        ticket = plan_pb2.Ticket(
            cluster_id=self._cluster_id,
            task_id=task.id,
            fence=task.fence,
            node_id=task.node.id,
            bundle_digest=effect.bundle_digest,
            not_after=self._clock.now() + self._intervals.ticket,
        )
        assign = agent_link_pb2.Assign(
            ticket=self._sign(ticket.SerializeToString()),
            task=task_to_proto(task),
            bundle=self._bundle(session, effect),
        )
        session.owes(task.id, "assign", self._clock.now())
        session.out.put(agent_link_pb2.ServerFrame(assign=assign))

    def _bundle(self, session: Session, effect: SendAssign) -> bytes:
        if session.has_bundle(effect.bundle_digest):
            return b""
        data = self._plans.bundle(effect.bundle_digest)
        if data is None or len(data) > INLINE_BUNDLE:
            return b""
        session.bundle_sent(effect.task.id, effect.bundle_digest)
        return data

    def _cancel(self, effect: SendCancel) -> None:
        session = self._sessions.get(effect.node_id)
        if session is None:
            return
        session.owes(effect.task_id, "cancel", self._clock.now())
        cancel = agent_link_pb2.Cancel(
            task_id=effect.task_id, fence=effect.fence, cancel=cancel_to_proto(effect.cancel)
        )
        session.out.put(agent_link_pb2.ServerFrame(cancel=cancel))

    def _decide(self, effect: SendDecision) -> None:
        session = self._sessions.get(effect.node_id)
        if session is None:
            return
        session.owes(effect.task_id, "decision", self._clock.now())
        decide = agent_link_pb2.Decide(
            task_id=effect.task_id,
            fence=effect.fence,
            step_id=effect.step_id,
            decision=decision_to_proto(effect.decision),
        )
        session.out.put(agent_link_pb2.ServerFrame(decide=decide))

    def _forget(self, effect: SendForget) -> None:
        session = self._sessions.get(effect.node_id)
        if session is None:
            return
        tasks = [
            agent_link_pb2.InventoryTask(task_id=task_id, fence=fence, state=TASK_STATE[state])
            for task_id, fence, state in effect.tasks
        ]
        session.out.put(agent_link_pb2.ServerFrame(forget=agent_link_pb2.Forget(tasks=tasks)))

    # -- runs of more than one transaction ---------------------------------------------------------------------------

    def resume(self, run_ids: Iterable[str]) -> None:
        """Has these runs looked at again: something of them may have been left undone."""
        for run_id in run_ids:
            self._due[run_id] = None
            self._unfinished.setdefault(run_id, asyncio.Event())
        self._wake.set()

    async def settled(self, run_id: str) -> None:
        """Waits until nothing of the run is left to be made, given out or ended right away."""
        unfinished = self._unfinished.get(run_id)
        if unfinished is not None:
            await unfinished.wait()

    async def run(self, store: Applier) -> None:
        """Goes on with large runs, a transaction at a time, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                run_id = next(iter(self._due))
                del self._due[run_id]
                await self._continue(store, run_id)

    async def _continue(self, store: Applier, run_id: str) -> None:
        try:
            await store.apply(settle_run(self._plans, run_id=run_id))
        except GameNodeError as error:
            # The timers come by again: a full disk must not end this loop, nor may one run that is at fault.
            logger.warning("run %s could not go on: %s", run_id, error.message, extra={"run": run_id})
        except Exception:
            logger.exception("run %s could not go on", run_id, extra={"run": run_id})
        if run_id not in self._due:  # else that operation has handed it out again
            self._unfinished.pop(run_id).set()


def _nobody_is_in(change: UserChanged) -> None:
    """Before the doors are made."""
