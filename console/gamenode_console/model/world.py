"""What the console knows of the fleet, filled by one thread and shown by another.

The core thread puts what the server tells; the screens take what has changed since they last looked. Putting costs a
look-up a message, whatever is shown; messages are never changed once they are here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from gamenode_proto.v1 import nodes_pb2, state_management_pb2, work_pb2

M = TypeVar("M", nodes_pb2.Node, work_pb2.Run)

#: How many of the last events are kept, and of the runs that ended last. A console may be left open for weeks.
EVENTS_KEPT = 5_000
RUNS_KEPT = 2_000
#: The part by which runs may be more before the oldest are let go: to look for them costs a look at all.
_SLACK = 0.1


class LinkState(StrEnum):
    """How the console stands with its server."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Link:
    """The connection to the server. Times in Unix seconds."""

    state: LinkState = LinkState.CONNECTING
    since: float = 0.0
    #: What is being done, or why it is lost, in a line.
    text: str = "starting"
    server: str = ""
    server_version: str = ""
    cluster_id: str = ""
    #: Who the server takes the operator for, and as what.
    principal: str = ""
    role: str = ""
    #: The server runs in this process.
    embedded: bool = False


@dataclass(slots=True)
class Changes:
    """What is other than when somebody last looked."""

    nodes: set[str] = field(default_factory=set)
    gone_nodes: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    gone_runs: set[str] = field(default_factory=set)
    events: list[work_pb2.Event] = field(default_factory=list)
    status: bool = False
    link: bool = False
    #: Events may be missing before those that came.
    resync: bool = False

    @property
    def any(self) -> bool:
        """Whether there is anything at all."""
        return bool(
            self.nodes
            or self.gone_nodes
            or self.runs
            or self.gone_runs
            or self.events
            or self.status
            or self.link
            or self.resync
        )


class World:
    """Nodes, runs, events and the server's own figures, as they were last told. One writer, one reader, one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes = Changes()
        self.nodes: dict[str, nodes_pb2.Node] = {}
        self.runs: dict[str, work_pb2.Run] = {}
        self._last_runs: dict[str, str] = {}
        self.events: deque[work_pb2.Event] = deque(maxlen=EVENTS_KEPT)
        self.status: state_management_pb2.GetStatusResponse | None = None
        self.link = Link()
        #: The first snapshot of each has come: before it, nothing there means nothing known.
        self.nodes_known = False
        self.runs_known = False

    # -- the core thread ----------------------------------------------------------------------------------------------

    def put_nodes(
        self, nodes: Iterable[nodes_pb2.Node], removed: Iterable[str] = (), *, snapshot: bool = False
    ) -> None:
        """Takes over nodes; with `snapshot` these are all there are."""
        with self._lock:
            changes = self._changes
            _put(self.nodes, nodes, removed, changes.nodes, changes.gone_nodes, snapshot=snapshot)
            for gone in changes.gone_nodes:
                self._last_runs.pop(gone, None)
            self.nodes_known = self.nodes_known or snapshot

    def put_runs(self, runs: Iterable[work_pb2.Run], removed: Iterable[str] = (), *, snapshot: bool = False) -> None:
        """Takes over runs; with `snapshot` these are all that are looked at. Of those that have ended the last stay."""
        with self._lock:
            changes = self._changes
            _put(self.runs, runs, removed, changes.runs, changes.gone_runs, snapshot=snapshot)
            if len(self.runs) > RUNS_KEPT * (1 + _SLACK):
                _put(self.runs, (), _ended_long_ago(self.runs.values()), changes.runs, changes.gone_runs)
            self.runs_known = self.runs_known or snapshot

    def put_events(self, events: Iterable[work_pb2.Event], *, resync: bool = False) -> None:
        """Takes over events, oldest first; `resync`: some before them are missing."""
        with self._lock:
            known = self.events[-1].cursor if self.events else 0
            new = [event for event in events if event.cursor > known]
            self.events.extend(new)
            self._last_runs.update((event.node_id, event.run_id) for event in new if event.node_id and event.run_id)
            self._changes.events.extend(new)
            del self._changes.events[:-EVENTS_KEPT]
            self._changes.resync = self._changes.resync or resync

    def put_status(self, status: state_management_pb2.GetStatusResponse) -> None:
        """Takes over what needs attention, and the server's figures."""
        with self._lock:
            self.status = status
            self._changes.status = True

    def set_link(self, **changed: object) -> None:
        """Takes over fields of the link. A state that stays keeps its `since`."""
        with self._lock:
            if changed.get("state", self.link.state) is self.link.state and self.link.since:
                changed.pop("since", None)
            self.link = replace(self.link, **changed)  # type: ignore[arg-type]  # the fields are checked by `replace`
            self._changes.link = True

    # -- the screens --------------------------------------------------------------------------------------------------

    def take(self) -> Changes:
        """What has changed since this was last asked."""
        with self._lock:
            changes, self._changes = self._changes, Changes()
        return changes

    def node_list(self) -> list[nodes_pb2.Node]:
        """Every node, in no order, as of now."""
        with self._lock:
            return list(self.nodes.values())

    def run_list(self) -> list[work_pb2.Run]:
        """Every run that is looked at, in no order, as of now."""
        with self._lock:
            return list(self.runs.values())

    def last_run_on(self, node_id: str) -> str:
        """The run that was last heard of on a node; empty where none was."""
        return self._last_runs.get(node_id, "")

    def everything(self) -> Changes:
        """Changes that name all there is, for a screen that is opened."""
        with self._lock:
            return Changes(nodes=set(self.nodes), runs=set(self.runs), events=list(self.events), status=True, link=True)


def _put(
    known: dict[str, M],
    changed: Iterable[M],
    removed: Iterable[str],
    dirty: set[str],
    gone: set[str],
    *,
    snapshot: bool = False,
) -> None:
    left: set[str] = set(known) if snapshot else set()
    for message in changed:
        known[message.id] = message
        dirty.add(message.id)
        gone.discard(message.id)
        left.discard(message.id)
    for each in [*removed, *left]:
        if known.pop(each, None) is not None:
            dirty.discard(each)
            gone.add(each)


def _ended_long_ago(runs: Iterable[work_pb2.Run]) -> list[str]:
    """The runs that nobody looks at any more: what has ended, but for the last."""
    ended = sorted((run.finished_at, run.id) for run in runs if run.finished_at)
    return [id for _, id in ended[: max(0, len(ended) - RUNS_KEPT)]]
