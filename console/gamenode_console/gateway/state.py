"""The calls of the state management interface: nodes, events, logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gamenode_console.gateway.link import Link
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1 import common_pb2, nodes_pb2
from gamenode_proto.v1 import state_management_pb2 as messages
from gamenode_proto.v1.state_management_pb2_grpc import StateManagementStub

if TYPE_CHECKING:
    from gamenode_proto.v1.state_management_pb2_grpc import StateManagementAsyncStub

LogKey = tuple[str, int, str, int]


class SeenLogs:
    """What of some logs has been read, so that a log that is sent again from its start gives each byte once."""

    def __init__(self) -> None:
        self._offsets: dict[LogKey, int] = {}
        self._holes: set[tuple[LogKey, int, int]] = set()
        self._ended: set[LogKey] = set()

    @property
    def any(self) -> bool:
        """Whether anything has been seen at all."""
        return bool(self._offsets)

    def is_new(self, piece: messages.LogPiece) -> bool:
        """Whether something in the piece has not been seen; what has been is cut off its front."""
        key = (piece.ref.task_id, piece.ref.fence, piece.ref.step_id, piece.ref.attempt)
        new = False
        if piece.data:
            known = self._offsets.get(key, 0)
            end = piece.offset + len(piece.data)
            if end > known:
                if piece.offset < known:
                    piece.data = piece.data[known - piece.offset :]
                    piece.offset = known
                self._offsets[key] = end
                new = True
            else:
                piece.data = b""
        if piece.HasField("hole"):
            # A hole takes no room: what follows it has its offset too.
            hole = (key, piece.hole.offset, piece.hole.length)
            new = new or hole not in self._holes
            self._holes.add(hole)
        if piece.HasField("end"):
            new = new or key not in self._ended
            self._ended.add(key)
        return new


class StateCalls:
    """What the server knows of nodes, and what happened."""

    def __init__(self, link: Link, *, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._stub: StateManagementAsyncStub = StateManagementStub(link.channel)

    async def status(self) -> messages.GetStatusResponse:
        """What needs attention, and the server's own figures."""
        return await self._link.call(self._stub.GetStatus, messages.GetStatusRequest(), repeatable=True)

    async def list_nodes(self, selectors: Sequence[str] = ()) -> Sequence[nodes_pb2.Node]:
        """Nodes that every selector matches."""
        request = messages.ListNodesRequest(selectors=selectors)
        return (await self._link.call(self._stub.ListNodes, request, repeatable=True)).nodes

    async def get_node(self, node: str) -> nodes_pb2.Node:
        """One node, by id, name or id prefix."""
        return await self._link.call(self._stub.GetNode, messages.GetNodeRequest(node=node), repeatable=True)

    async def node_metrics(self, node: str, *, since: float = 0.0) -> messages.GetNodeMetricsResponse:
        """Samples of the last hour, oldest first."""
        request = messages.GetNodeMetricsRequest(node=node, since=since)
        return await self._link.call(self._stub.GetNodeMetrics, request, repeatable=True)

    async def label_node(self, node: str, *, set: Mapping[str, str], remove: Sequence[str]) -> nodes_pb2.Node:
        """Sets and removes labels."""
        request = messages.LabelNodeRequest(node=node, set=set, remove=remove)
        return await self._link.call(self._stub.LabelNode, request, repeatable=True)

    async def set_admin_state(
        self, nodes: Sequence[str], state: common_pb2.AdminState.ValueType, *, reason: str = "", deadline: float = 0.0
    ) -> Sequence[nodes_pb2.Node]:
        """Says whether nodes get work; all of them, or none where one is unknown.

        `deadline` is for draining ones: the seconds after which what is left is cancelled, 0 for never.
        """
        request = messages.SetNodeAdminStateRequest(nodes=nodes, state=state, reason=reason, deadline=deadline)
        return (await self._link.call(self._stub.SetNodeAdminState, request, repeatable=True)).nodes

    async def revoke_node(self, node: str, *, reason: str = "") -> nodes_pb2.Node:
        """Refuses a node from now on."""
        request = messages.RevokeNodeRequest(node=node, reason=reason)
        return await self._link.call(self._stub.RevokeNode, request)

    async def remove_node(self, node: str, *, reason: str = "") -> None:
        """Forgets a node."""
        await self._link.call(self._stub.RemoveNode, messages.RemoveNodeRequest(node=node, reason=reason))

    async def watch_nodes(self, selectors: Sequence[str] = ()) -> AsyncIterator[messages.NodesUpdate]:
        """A snapshot, then nodes as they change; a snapshot again after a lost connection. Never ends."""
        request = messages.WatchNodesRequest(selectors=selectors)
        async for update in self._link.resume(
            lambda: self._link.stream(self._stub.WatchNodes, request), over=lambda: False
        ):
            yield update

    async def watch_events(
        self,
        *,
        after: int = 0,
        follow: bool = False,
        types: Sequence[str] = (),
        node: str = "",
        run: str = "",
        since: float = 0.0,
        until: float = 0.0,
    ) -> AsyncIterator[messages.EventBatch]:
        """Events after a cursor in batches, each once: a new stream starts at the last cursor seen."""
        request = messages.WatchEventsRequest(
            after=after, follow=follow, types=types, node=node, run=run, since=since, until=until
        )
        async for batch in self._link.resume(
            lambda: self._link.stream(self._stub.WatchEvents, request), over=lambda: not follow
        ):
            if batch.cursor:
                request.after = batch.cursor
            yield batch

    def log_feed(self, run: str, *, node: str = "", step: str = "", since: float = 0.0, tail: int = -1) -> LogFeed:
        """A run's logs: all that was written after `since`, or the `tail` last lines of each (-1: all)."""
        request = messages.TailLogsRequest(run=run, node=node, step=step, since=since, tail=tail)
        return LogFeed(self._link, self._stub, request)

    async def read_log(self, ref: common_pb2.AttemptRef, *, offset: int, limit: int) -> messages.ReadLogResponse:
        """A byte range of one log."""
        request = messages.ReadLogRequest(ref=ref, offset=offset, limit=limit)
        return await self._link.call(self._stub.ReadLog, request, repeatable=True)


class LogFeed:
    """A run's logs, merged by time: every byte comes once, over all the streams that it takes."""

    def __init__(self, link: Link, stub: StateManagementAsyncStub, request: messages.TailLogsRequest) -> None:
        self._link = link
        self._stub = stub
        self._request = request
        self._seen = SeenLogs()

    async def pieces(self, *, follow: bool) -> AsyncIterator[messages.LogPiece]:
        """Pieces that have not come yet. With `follow`, until the run has ended and its logs have settled."""
        request = self._request
        request.follow = follow

        def attempt() -> AsyncIterator[messages.LogPiece]:
            if self._seen.any:
                # The last lines were asked for once; from here on it is the offsets that say what is new.
                request.tail = -1
            return self._link.stream(self._stub.TailLogs, request)

        async for piece in self._link.resume(attempt, over=lambda: True):
            if self._seen.is_new(piece):
                yield piece
