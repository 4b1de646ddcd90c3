"""The agents that are connected: one live session a node, what it was heard to say last, and what it still owes.

Owns what is not worth storing: heartbeats, metrics, clock skew, unacknowledged frames. What a session changes durably
is an operation of `controller`. Used on the loop only; knows no stream.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.states import NodeState
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from gamenode_server.containers.inventory import Inventory
from gamenode_server.hub import Hub
from gamenode_server.intervals import Intervals
from gamenode_server.metrics_history import MetricsHistory
from gamenode_server.outgoing import Outgoing
from gamenode_server.pending import Pending
from gamenode_server.presence import CloneWatch, Presence
from gamenode_server.records import Node

#: Bundles an agent is taken to have at hand.
MAX_KNOWN_BUNDLES = 64

Owed = Literal["assign", "cancel", "decision"]


class Session:
    """One authenticated connection of an agent. `epoch` is 0 until it is the node's session."""

    def __init__(self, *, id: str, node_id: str, agent_run_id: str, address: str, now: float) -> None:
        self.id = id
        self.node_id = node_id
        self.agent_run_id = agent_run_id
        self.address = address
        self.opened_at = now
        self.epoch = 0
        #: Where its outbox is stored to.
        self.acked = 0
        self.out = Outgoing()
        self.last_heard = now
        self.clock_skew = 0.0
        self.metrics: nodes_pb2.Metrics | None = None
        #: What the host has, as it was told last, and since when its engine has been as it is.
        self.facts = nodes_pb2.HostFacts()
        self.engine_since = now
        #: Questions that only the agent can answer.
        self.pending = Pending()
        #: Frames that want an answer, by task: when they were sent.
        self.owed: dict[tuple[str, Owed], float] = {}
        self._bundles: OrderedDict[str, None] = OrderedDict()
        self._sent_bundles: dict[str, str] = {}

    def owes(self, task_id: str, what: Owed, now: float) -> None:
        """A frame was sent that the agent has to answer with an event."""
        self.owed[(task_id, what)] = now

    def answered(self, task_id: str, what: Owed) -> None:
        """It was."""
        self.owed.pop((task_id, what), None)

    def overdue(self, before: float) -> bool:
        """Whether something sent before that time is still unanswered."""
        return any(sent <= before for sent in self.owed.values())

    def has_bundle(self, digest: str) -> bool:
        """Whether the agent has accepted a task with this bundle in its session."""
        return digest in self._bundles

    def bundle_sent(self, task_id: str, digest: str) -> None:
        """The task was sent with its bundle, which the agent has once it accepts."""
        self._sent_bundles[task_id] = digest

    def accepted(self, task_id: str) -> None:
        """The agent has the task, and so its bundle, on its disk."""
        self.answered(task_id, "assign")
        digest = self._sent_bundles.pop(task_id, None)
        if digest is not None:
            self._bundles[digest] = None
            while len(self._bundles) > MAX_KNOWN_BUNDLES:
                self._bundles.popitem(last=False)


class Sessions:
    """Every session, and the presence of every node that is or was just connected."""

    def __init__(self, *, clock: Clock, intervals: Intervals, hub: Hub) -> None:
        self._clock = clock
        self._intervals = intervals
        self._hub = hub
        self._opening: dict[str, Session] = {}
        self._live: dict[str, Session] = {}
        self._history: dict[str, MetricsHistory] = {}
        self._clones: dict[str, CloneWatch] = {}
        self.presences: dict[str, Presence] = {}
        self.containers = Inventory()

    def restore(self, node: Node) -> None:
        """After a start: a node that was connected before is given time to come back."""
        if node.state in (NodeState.ONLINE, NodeState.SUSPECT):
            now = self._clock.now()
            grace = now + self._intervals.offline + self._intervals.start_grace
            self.presences[node.id] = Presence(node.session_epoch, node.state, now, not_before=grace)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, node_id: str) -> Session | None:
        """The node's session."""
        return self._live.get(node_id)

    def begin(self, session: Session) -> bool:
        """A session wants to become its node's. False where the node's identity is used by two agents at once."""
        clones = self._clones.setdefault(session.node_id, CloneWatch())
        if clones.cloned(session.agent_run_id, self._clock.now()):
            return False
        self._opening[session.id] = session
        return True

    def activate(self, session_id: str, *, node_id: str, epoch: int, acked: int) -> Session | None:
        """The session is its node's from now on; one before it is told that it was superseded.

        None where its stream has ended since it was asked for: the node is stored as online, and its silence begins.
        """
        session = self._opening.pop(session_id, None)
        now = self._clock.now()
        self.presences[node_id] = Presence(epoch, NodeState.ONLINE, now, connected=session is not None)
        self._hub.mark_node(node_id)
        before = self._live.get(node_id)
        if before is not None:
            before.out.close(Error(Code.SUPERSEDED, f"session {before.epoch} was followed by session {epoch}"))
        if session is None:
            return None
        session.epoch = epoch
        session.acked = acked
        session.out.start_at(acked)
        session.last_heard = now
        self._live[node_id] = session
        return session

    def end(self, session: Session) -> None:
        """The stream of the session is over, however it ended."""
        self._opening.pop(session.id, None)
        session.pending.end(Error(Code.DISCONNECTED, "the node went away before it answered"))
        if self._live.get(session.node_id) is session:
            del self._live[session.node_id]
            presence = self.presences.get(session.node_id)
            if presence is not None and presence.epoch == session.epoch:
                presence.connected = False
            self._hub.mark_node(session.node_id)

    def close(self, node_id: str, error: Error) -> None:
        """Ends the node's session, if it has one."""
        session = self._live.get(node_id)
        if session is not None:
            session.out.close(error)

    def judged(self, node_id: str, epoch: int, state: NodeState) -> None:
        """The node's state is stored. A session that fell silent is ended: its agent opens another one."""
        presence = self.presences.get(node_id)
        if presence is None or presence.epoch != epoch:
            return
        presence.state = state
        if state is NodeState.OFFLINE:
            del self.presences[node_id]
        if state is not NodeState.ONLINE:
            session = self._live.get(node_id)
            if session is not None and session.epoch == epoch:
                session.out.close(Error(Code.TIMEOUT, "nothing was heard of the agent for too long"))
        self._hub.mark_node(node_id)

    def left(self, session: Session) -> None:
        """The agent said goodbye, and that is stored."""
        presence = self.presences.get(session.node_id)
        if presence is not None and presence.epoch == session.epoch:
            del self.presences[session.node_id]

    def forget(self, node_id: str) -> None:
        """The node is not part of the fleet any more."""
        self.presences.pop(node_id, None)
        self._history.pop(node_id, None)
        self._clones.pop(node_id, None)
        self.containers.forget(node_id)
        self._hub.mark_node(node_id)

    def heard(self, session: Session) -> None:
        """Anything at all came from the agent."""
        session.last_heard = self._clock.now()
        presence = self.presences.get(session.node_id)
        if presence is not None and presence.epoch == session.epoch:
            presence.last_heard = session.last_heard

    def heartbeat(self, session: Session, beat: agent_link_pb2.Heartbeat) -> None:
        """Takes over what a heartbeat says and sends its echo."""
        now = session.last_heard
        if beat.now:
            session.clock_skew = beat.now - now
        session.out.ack(heartbeat=beat.seq)
        if beat.HasField("metrics"):
            session.metrics = beat.metrics
            history = self._history.get(session.node_id)
            if history is None:
                history = self._history[session.node_id] = MetricsHistory(every=self._intervals.history)
            history.add(beat.metrics, now)
            self._hub.mark_node(session.node_id)
        if beat.HasField("facts"):
            if beat.facts.engine.available != session.facts.engine.available:
                session.engine_since = now
            session.facts = beat.facts
        if beat.HasField("containers"):
            self.told(session, beat.containers)
        elif session.facts.engine.available and self._live.get(session.node_id) is session:
            self.containers.confirm(session.node_id, now)

    def told(self, session: Session, report: nodes_pb2.ContainerReport) -> None:
        """Takes over what the node's session says of its containers."""
        if self._live.get(session.node_id) is session:
            self.containers.take(session.node_id, report, session.last_heard)

    def measured(self) -> dict[str, nodes_pb2.Metrics]:
        """What every connected host measured last."""
        return {node_id: s.metrics for node_id, s in self._live.items() if s.metrics is not None}

    def history(self, node_id: str, since: float) -> list[nodes_pb2.Metrics]:
        """The node's samples after `since`, oldest first."""
        history = self._history.get(node_id)
        return history.since(since) if history is not None else []
