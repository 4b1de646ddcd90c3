"""What happens because time passes: silent nodes, unanswered frames, ended certificates, waits that are over.

One loop, one tick. Every rule it applies is pure and elsewhere (`presence`, `controller.deadlines`); a tick that fails
is tried again by the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState
from gamenode_proto.process.clock import Clock
from gamenode_server.controller.drain import look_at_drains
from gamenode_server.controller.expire import expire_tasks
from gamenode_server.controller.nodes import StateChange, change_states
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.settle import live_run_ids, resend
from gamenode_server.dispatch import Dispatch
from gamenode_server.intervals import Intervals
from gamenode_server.presence import due
from gamenode_server.records import Node
from gamenode_server.sessions import Sessions
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

R = TypeVar("R")


class Applier(Protocol):
    """The store, as far as it is needed here."""

    async def apply(self, op: Callable[[Tx], R]) -> R:
        """Runs an operation and returns its result once it is durable."""
        ...


class Timers:
    """`run` it for as long as the server serves."""

    def __init__(
        self,
        *,
        store: Applier,
        sessions: Sessions,
        dispatch: Dispatch,
        plans: Plans,
        clock: Clock,
        intervals: Intervals,
        live_runs: Callable[[], Iterable[Run]],
        nodes: Callable[[], Iterable[Node]],
    ) -> None:
        self._nodes = nodes
        self._store = store
        self._live_runs = live_runs
        self._sessions = sessions
        self._dispatch = dispatch
        self._plans = plans
        self._clock = clock
        self._intervals = intervals
        self._last_tick = clock.now()
        self._expire_at = 0.0
        self._settle_at = 0.0

    async def run(self) -> None:
        """Ticks until it is cancelled."""
        while True:
            await asyncio.sleep(self._intervals.tick)
            try:
                await self.tick()
            except GameNodeError as error:
                logger.warning("a tick of the timers failed and is repeated: %s", error.message)
            except Exception:
                # One record that is at fault must not stop the watch over all the others.
                logger.exception("a tick of the timers failed and is repeated")

    async def tick(self) -> None:
        """One round of everything that is due."""
        now = self._clock.now()
        self._forgive_own_pause(now)
        await self._judge_presence(now)
        overdue = [session.node_id for session in self._sessions if session.overdue(now - self._intervals.resend)]
        if overdue:
            for node_id in overdue:
                session = self._sessions.get(node_id)
                if session is not None:
                    session.owed.clear()  # what is sent again is owed again
            await self._store.apply(resend(overdue))
        if now >= self._expire_at:
            self._expire_at = now + 5 * self._intervals.tick
            while await self._store.apply(expire_tasks(self._plans, grace=self._intervals.task_grace)):
                pass
        self._dispatch.resume([run.id for run in self._live_runs() if 0 < run.next_at <= now])
        if any(node.drain is not None and not node.drain.done for node in self._nodes()):
            await self._store.apply(look_at_drains(self._plans))
        if now >= self._settle_at:
            self._settle_at = now + self._intervals.offline
            self._dispatch.resume(await self._store.apply(live_run_ids))

    def _forgive_own_pause(self, now: float) -> None:
        """If this process was stopped, nobody could be heard: the others are not the silent ones."""
        pause = now - self._last_tick - self._intervals.tick
        self._last_tick = now
        if pause > self._intervals.suspect / 2:
            logger.warning("the server stood still for %.1f s", pause)
            for presence in self._sessions.presences.values():
                presence.last_heard = min(now, presence.last_heard + pause)

    async def _judge_presence(self, now: float) -> None:
        changes: list[StateChange] = []
        for node_id, presence in self._sessions.presences.items():
            state = due(presence, now, self._intervals)
            if state is None:
                continue
            reason = "" if state is NodeState.ONLINE else f"silent for {now - presence.last_heard:.0f} s"
            changes.append(StateChange(node_id, presence.epoch, state, presence.last_heard, reason))
        if not changes:
            return
        await self._store.apply(change_states(self._plans, changes))
        for change in changes:
            self._sessions.judged(change.node_id, change.epoch, change.state)
