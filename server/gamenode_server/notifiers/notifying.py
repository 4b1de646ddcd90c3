"""The notifiers of a running server: follows the events into the queues, and empties each queue in its own time.

At least once: a message leaves its queue after its receiver has taken it, and after a restart the events are followed
from where the store has noted. A receiver knows a repeated message by its id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import work_pb2
from gamenode_server.hub import Batch, Hub
from gamenode_server.notifiers import messages, standing
from gamenode_server.notifiers.delivery import Delivery
from gamenode_server.notifiers.outcome import Outcome, wait
from gamenode_server.notifiers.spec import Notifier, Rate
from gamenode_server.notifiers.standing import Heard, Standing
from gamenode_server.store import Store, notifications
from gamenode_server.store.names import missing
from gamenode_server.store.notifications import Waiting

logger = logging.getLogger(__name__)

#: Events that nobody hears of are noted as read after so many.
UNNOTED = 1000
#: Seconds after which something that failed inside of the server is tried again.
AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A notifier and how it stands."""

    notifier: Notifier
    standing: Standing
    silent: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a test."""

    outcome: Outcome
    seconds: float


class Notifying:
    """Every notifier of a server. `run` it for as long as the server serves."""

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        *,
        store: Store,
        hub: Hub,
        wall: Callable[[], float],
        incarnation: Callable[[], str],
        patience: Callable[[Outcome, int, float], float] = wait,
    ) -> None:
        self._deliveries = {each.notifier.name: each for each in deliveries}
        self._store = store
        self._hub = hub
        self._wall = wall
        self._incarnation = incarnation
        self._patience = patience
        self._grown = {name: asyncio.Event() for name in self._deliveries}
        #: As they are in the store; all there once events are followed.
        self._standings: dict[str, Standing] = {}

    async def run(self) -> None:
        """Follows and tells until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeated(self._follow, "events could not be followed"))
            for delivery in self._deliveries.values():
                work = _Teller(
                    self._store, delivery, self._grown[delivery.notifier.name], self._patience, self._changed
                )
                group.create_task(self._repeated(work.run, f"notifier {delivery.notifier.name} could not go on"))

    def listed(self) -> list[Shown]:
        """Every notifier by name, and how it stands."""
        wall = self._wall()
        notifiers = [self._deliveries[name].notifier for name in sorted(self._deliveries)]
        return [Shown(each, self._standings.get(each.name, Standing()), each.silent(wall)) for each in notifiers]

    def failing(self) -> dict[str, tuple[float, str]]:
        """Those that can tell nobody, since when, and why."""
        shown = [(each.notifier.name, each.standing) for each in self.listed()]
        return {name: (now.failing_since, now.last_error) for name, now in shown if now.failing_since}

    async def test(self, name: str, *, by: str) -> Tried:
        """Tells of an event that did not happen, now and once, whatever is silent or waits. NOT_FOUND."""
        delivery = self._deliveries.get(name)
        if delivery is None:
            if not self._deliveries:
                raise GameNodeError(Code.NOT_FOUND, "there is no notifier; the server's config file has none")
            raise missing("notifier", name, list(self._deliveries))
        began = time.monotonic()
        id = f"test-{random.getrandbits(64):016x}"
        outcome = await delivery.send(messages.sample(id=id, wall=self._wall(), actor=by))
        return Tried(outcome, time.monotonic() - began)

    async def _repeated(self, work: Callable[[], Awaitable[None]], failed: str) -> None:
        """Does it again where it fails: what notifiers cannot do must not stop what the server does."""
        while True:
            try:
                await work()
            except GameNodeError as error:
                logger.warning("%s: %s", failed, error.message)
            except Exception:
                logger.exception(failed)
            await asyncio.sleep(AGAIN)
            await self._store.writable()

    async def _follow(self) -> None:
        cursor, standings = await self._store.apply(standing.begin(list(self._deliveries), self._hub.newest))
        self._standings.update(standings)
        if not self._deliveries:  # it is only noted, so that who comes back is not told of all that was meanwhile
            await asyncio.get_running_loop().create_future()
        noted = cursor
        async for batch in self._hub.subscribe(after=cursor):
            if batch.resync and batch.cursor > noted:
                logger.warning("events were deleted before the notifiers heard of them")
            heard = self._heard(batch)
            if heard or batch.cursor - noted >= UNNOTED:
                for name, now in (await self._store.apply(standing.take_in(heard, cursor=batch.cursor))).items():
                    self._changed(name, now)
                    self._grown[name].set()
                noted = batch.cursor

    def _changed(self, name: str, now: Standing) -> None:
        self._standings[name] = now

    def _heard(self, batch: Batch) -> list[Heard]:
        found: list[Heard] = []
        wall = self._wall()
        for event in batch.events:
            node = self._store.view.node(event.node_id) if event.node_id else None
            labels = node.labels if node is not None else None
            document: messages.Document | None = None
            for name, delivery in self._deliveries.items():
                notifier = delivery.notifier
                if not notifier.hears(event.type, labels) or event.data.get("notifier") == name:
                    continue
                document = document or self._document(event)
                found.append(Heard(notifier, event.cursor, document, notifier.silent(wall), _key(notifier, document)))
        return found

    def _document(self, event: work_pb2.Event) -> messages.Document:
        view = self._store.view
        return messages.document(
            event,
            id=f"{self._incarnation()}-{event.cursor}",
            node=view.node(event.node_id) if event.node_id else None,
            run=view.run(event.run_id) if event.run_id else None,
        )


def _key(notifier: Notifier, event: messages.Document) -> str:
    if notifier.dedupe is None:
        return ""
    try:
        return messages.key(notifier.dedupe.key, event)
    except GameNodeError as error:
        logger.warning("notifier %s: its dedupe key: %s", notifier.name, error.message)
        return str(event["id"])  # then it is like no other


class _Teller:
    """Empties one notifier's queue, oldest first, one at a time."""

    def __init__(
        self,
        store: Store,
        delivery: Delivery,
        grown: asyncio.Event,
        patience: Callable[[Outcome, int, float], float],
        changed: Callable[[str, Standing], None],
    ) -> None:
        self._changed = changed
        self._store = store
        self._delivery = delivery
        self._grown = grown
        self._patience = patience
        self._sent: deque[float] = deque()

    async def run(self) -> None:
        """Tells until it is cancelled."""
        name = self._delivery.notifier.name
        while True:
            self._grown.clear()
            message = await self._store.read(notifications.oldest, name)
            if message is None:
                await self._grown.wait()
                continue
            clock = self._store.clock
            await asyncio.sleep(max(0.0, message.due_at - clock.now()))
            await self._tell(message)

    async def _tell(self, message: Waiting) -> None:
        notifier, clock = self._delivery.notifier, self._store.clock
        if message.attempts and clock.now() - message.created_at > notifier.keep:
            outcome = Outcome(False, f"given up after {message.attempts} tries", again=False)
        else:
            await self._in_turn(notifier.rate)
            event = json.loads(message.event)
            # Two notifiers may have one receiver: an id is of one event to one of them.
            outcome = await self._delivery.send({**event, "id": f"{event['id']}-{notifier.name}"})
        if not outcome.delivered:
            logger.warning("notifier %s: %s", notifier.name, outcome.answer)
        later = self._patience(outcome, message.attempts, random.random())
        now = await self._store.apply(standing.settle(message, outcome, wait=later, keep=notifier.keep))
        self._changed(notifier.name, now)

    async def _in_turn(self, rate: Rate) -> None:
        clock = self._store.clock
        if len(self._sent) >= rate.count:
            await asyncio.sleep(max(0.0, self._sent[0] + rate.per - clock.now()))
        self._sent.append(clock.now())
        while len(self._sent) > rate.count:
            self._sent.popleft()
