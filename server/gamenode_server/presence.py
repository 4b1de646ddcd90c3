"""Whether a node is there, judged by how long it has been silent. Pure but for the objects it is given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gamenode_pipelines.states import NodeState
from gamenode_server.intervals import Intervals

#: Times in a minute that two starts of an agent may take the session from each other before the node is quarantined.
MAX_ALTERNATIONS = 3
ALTERNATION_WINDOW = 60.0


@dataclass(slots=True)
class Presence:
    """What one node was last heard to be. `not_before` puts off `offline` after a start of the server."""

    epoch: int
    state: NodeState
    last_heard: float
    connected: bool = False
    not_before: float = 0.0


def due(presence: Presence, now: float, intervals: Intervals) -> NodeState | None:
    """The state the node goes to at `now`, or None where it stays what it is."""
    silent = now - presence.last_heard
    state = presence.state
    if presence.connected and silent < intervals.suspect:
        return None if state is NodeState.ONLINE else NodeState.ONLINE
    if state is NodeState.ONLINE:
        return NodeState.SUSPECT if silent >= intervals.suspect else None
    if state is NodeState.SUSPECT and silent >= intervals.offline and now >= presence.not_before:
        return NodeState.OFFLINE
    return None


class CloneWatch:
    """Notices that one identity is used by two agents at once.

    An agent has a new run id with every start and never an earlier one again: one that comes back after another has had
    the session belongs to a second agent that is still alive.
    """

    def __init__(self, *, window: float = ALTERNATION_WINDOW, limit: int = MAX_ALTERNATIONS) -> None:
        self._window = window
        self._limit = limit
        self._seen: deque[str] = deque(maxlen=8)
        self._returns: deque[float] = deque()

    def cloned(self, agent_run_id: str, now: float) -> bool:
        """Notes that this start of an agent opens a session; says whether there are two of them."""
        if self._seen and self._seen[-1] == agent_run_id:
            return False
        if agent_run_id in self._seen:
            self._returns.append(now)
            self._seen.remove(agent_run_id)
        self._seen.append(agent_run_id)
        while self._returns and self._returns[0] <= now - self._window:
            self._returns.popleft()
        return len(self._returns) > self._limit
