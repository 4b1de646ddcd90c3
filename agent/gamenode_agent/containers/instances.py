"""Keeps running what is to run: the agent's own restart policy, for containers of this node and no other.

An engine's own policy is never used: it would start again what a cancelled step has just ended. What a container wants
is in its labels, what speaks against it in `wishes`; one that ended while nobody looked (the engine was away, the host
was restarted) is started again at once and not blamed for it. Containers whose task nobody knows are instances too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from gamenode_agent.containers import restarting
from gamenode_agent.containers.naming import restart_label
from gamenode_agent.containers.restarting import GiveUp, LeaveBe, StartAgain
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import (
    CLUSTER,
    NODE,
    RESTART,
    RUN,
    TASK,
    Container,
    ContainerEngine,
    ContainerEvent,
    HalfStarted,
)
from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

#: Between an end and the verdict on it: an engine's words about one stop come one after the other.
SETTLE = 0.2
#: One that was stopped by hand stays so; only if the engine does not go away within this long, which then did it.
BY_HAND = 30.0
#: Pause after the engine could not be asked though it is there.
RETRY = 1.0
#: Pause before the file of wishes is tried again.
SAVE_AGAIN = 10.0


class Instances:
    """The restart policies of one node. Everything on one loop."""

    def __init__(
        self,
        engine: ContainerEngine,
        wishes: Wishes,
        *,
        cluster_id: str,
        node_id: str,
        tell: Callable[[str, Mapping[str, str]], None],
        restarted: Callable[[str], None] = lambda _id: None,
        settle: float = SETTLE,
        by_hand: float = BY_HAND,
    ) -> None:
        """`tell` gets the events of this node: a type and its data; `restarted` each container that was counted."""
        self._engine = engine
        self._wishes = wishes
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._tell = tell
        self._restarted = restarted
        self._settle = settle
        self._by_hand = by_hand
        #: Containers to look at, with when (loop time).
        self._due: dict[str, float] = {}
        #: Those that wait for their next start, with how often in a row they had ended.
        self._starting: set[str] = set()
        self._crashes: dict[str, int] = {}
        #: Those somebody has stopped by hand, with until when that is not sure.
        self._stopped: dict[str, float] = {}
        self._all_due = True
        #: Those whose end may not have been seen by us.
        self._unseen: set[str] = set()
        self._wake = asyncio.Event()

    async def run(self) -> NoReturn:
        """Keeps them running, until cancelled."""
        unsubscribe = self._engine.subscribe(self.heard)
        self._wishes.on_let_go = self._let_go
        try:
            while True:
                await self._wait()
                try:
                    await self._work()
                except GameNodeError as error:
                    if error.code is not Code.ENGINE_UNAVAILABLE:
                        logger.error("the instances cannot be looked after: %s", error.message)
                    self._all_due = True
                    await asyncio.sleep(RETRY)
                except Exception:  # an engine that answers oddly is no reason to end the agent
                    logger.exception("the instances cannot be looked after")
                    self._all_due = True
                    await asyncio.sleep(RETRY)
        finally:
            unsubscribe()

    def heard(self, event: ContainerEvent | None) -> None:
        """What the engine's subscription tells."""
        if event is None:
            # Whatever stopped was stopped by the engine, or may have been.
            self._stopped.clear()
            self._all_due = True
        elif event.action == "destroy":
            self._forget(event.id)
            return
        elif event.labels.get(CLUSTER, self._cluster_id) != self._cluster_id:
            return
        elif event.action == "start":
            self._stopped.pop(event.id, None)
            self._look_at(event.id, 0.0)
        elif event.action == "stop" and RESTART in event.labels:
            self._stopped[event.id] = self._now() + self._by_hand
            self._look_at(event.id, self._by_hand)
        elif event.action == "die":
            self._look_at(event.id, self._settle)
        self._wake.set()

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _look_at(self, container: str, after: float) -> None:
        self._due[container] = self._now() + after
        self._starting.discard(container)
        self._wake.set()

    def _let_go(self, container: str) -> None:
        if container not in self._due:
            self._look_at(container, self._settle)

    def _forget(self, container: str) -> None:
        self._due.pop(container, None)
        self._starting.discard(container)
        self._crashes.pop(container, None)
        self._stopped.pop(container, None)
        self._unseen.discard(container)

    async def _wait(self) -> None:
        while True:
            self._wake.clear()
            if self._engine.available:
                if self._all_due:
                    return
                first = min(self._due.values(), default=None)
                if first is not None and first <= self._now():
                    return
            else:
                first = None
            if self._wishes.unsaved:
                first = min(self._now() + SAVE_AGAIN, first or float("inf"))
            try:
                async with asyncio.timeout_at(first):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _work(self) -> None:
        if self._wishes.unsaved:
            await self._wishes.save()
        if self._all_due and self._engine.available:
            self._all_due = False
            await self._look_at_all()
        if not self._engine.available:
            return
        now = self._now()
        for container in sorted((each for each, at in self._due.items() if at <= now), key=self._due.__getitem__):
            if self._due.pop(container, None) is None:
                continue  # gone, while another one was looked at
            starting = container in self._starting
            self._starting.discard(container)
            try:
                await self._look(container, starting=starting)
            except GameNodeError:
                self._due.setdefault(container, now)
                if starting:
                    self._starting.add(container)
                raise

    async def _look_at_all(self) -> None:
        found = await self._engine.containers()
        await self._wishes.forget_all_but({each.id for each in found})
        for each in found:
            if each.id in self._wishes.leftover and not each.running:
                await self._remove(each)
        now = self._now()
        for each in found:
            if self._is_instance(each) and each.state != "created" and not each.running:
                self._unseen.add(each.id)
                self._due[each.id] = now
                self._starting.discard(each.id)

    async def _remove(self, leftover: Container) -> None:
        """One that cannot be removed now is tried again with the next look at all; the others do not wait for it."""
        try:
            await self._engine.remove(leftover.id)
        except GameNodeError as error:
            if error.code is Code.ENGINE_UNAVAILABLE:
                raise
            logger.warning("a container cannot be removed: %s", error.message, extra={"container": leftover.id})

    def _is_instance(self, container: Container) -> bool:
        labels = container.labels
        return (labels.get(CLUSTER), labels.get(NODE)) == (self._cluster_id, self._node_id) and (
            restarting.parse(restart_label(container)) is not None
        )

    # -- one container -------------------------------------------------------------------------------------------------

    async def _look(self, container_id: str, *, starting: bool) -> None:
        found = await self._engine.inspect(container_id)
        unseen = container_id in self._unseen
        self._unseen.discard(container_id)
        if found is None:
            self._forget(container_id)
        elif not self._is_instance(found) or not found.ended or self._wishes.in_hand(found.id):
            return  # it runs, or was never started, or is no business of ours now
        elif self._wishes.is_over(found.id):
            return
        elif starting:
            await self._start(found, "it had ended")
        elif found.id in self._stopped:
            await self._was_stopped(found)
        elif unseen or not await self._engine.accepting():
            await self._ended_unseen(found)
        else:
            await self._ended(found)

    async def _was_stopped(self, found: Container) -> None:
        """By hand, past the agent: if the engine is still there after a while, it was a person's will."""
        if self._now() < self._stopped[found.id]:
            self._look_at(found.id, self._stopped[found.id] - self._now())
            return
        del self._stopped[found.id]
        await self._wishes.end(found.id, "stopped by hand")
        self._say("instance.stopped", found, why="stopped by hand on the node")

    async def _ended_unseen(self, found: Container) -> None:
        if not await self._engine.accepting():
            # It goes down with its engine, and is looked at when that is back; or the engine was only busy.
            self._look_at(found.id, RETRY)
            self._unseen.add(found.id)
            return
        policy = restarting.parse(restart_label(found))
        as_meant = policy is not None and not policy.always and not found.exit_code
        if as_meant and self._engine.outages == 0 and found.finished_at >= boot_time():
            # While no agent ran. It may have been its engine, but a server that ends well does so by itself.
            await self._wishes.end(found.id, "it has ended with exit code 0")
            return
        await self._start(found, "it had ended while nobody looked")

    async def _ended(self, found: Container) -> None:
        policy = restarting.parse(restart_label(found))
        assert policy is not None
        failed = bool(found.exit_code) or found.oom_killed
        ran = max(0.0, found.finished_at - found.started_at)
        if failed:
            self._say("instance.crashed", found, exit_code=found.exit_code, oom_killed=found.oom_killed)
        decision = restarting.decide(policy, failed=failed, crashes=self._crashes.get(found.id, 0), ran=ran)
        await self._follow(found, decision)

    async def _follow(self, found: Container, decision: restarting.Decision) -> None:
        match decision:
            case StartAgain(after, crashes):
                self._crashes[found.id] = crashes
                self._look_at(found.id, after)
                self._starting.add(found.id)
            case LeaveBe(why):
                await self._wishes.end(found.id, why)
            case GiveUp(why):
                await self._wishes.end(found.id, why)
                self._say("instance.gave_up", found, why=why, restarts=self._wishes.restarts(found.id))

    async def _start(self, found: Container, why: str) -> None:
        try:
            await self._engine.start(found.id)
        except GameNodeError as error:
            if error.code is Code.ENGINE_UNAVAILABLE:
                raise
            policy = restarting.parse(restart_label(found))
            assert policy is not None
            self._say("instance.crashed", found, error=error.message)
            crashes = self._crashes.get(found.id, 0)
            again = restarting.decide(policy, failed=True, crashes=crashes, ran=0.0)
            await self._follow(found, GiveUp(error.message) if isinstance(error, HalfStarted) else again)
            return
        restarts = await self._wishes.count(found.id)
        self._restarted(found.id)
        self._say("instance.restarted", found, restarts=restarts, why=why)

    def _say(self, what: str, found: Container, **facts: object) -> None:
        data = {"container": found.id, "name": found.name, "run": found.labels.get(RUN, "")}
        data["task"] = found.labels.get(TASK, "")
        data |= {name: str(value) for name, value in facts.items() if value is not None}
        logger.info("%s: %s", what, found.name, extra={"container": found.id})
        self._tell(what, data)


def boot_time() -> float:
    """When this host was started, Unix seconds of its clock."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
