"""The state management service: nodes, events, logs. Requests to operations and queries, records to answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import grpc.aio

from gamenode_pipelines import selectors
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.selectors import Selector
from gamenode_pipelines.states import AdminState
from gamenode_proto.codec.states import ADMIN_STATE
from gamenode_proto.v1 import nodes_pb2, state_management_pb2_grpc
from gamenode_proto.v1 import state_management_pb2 as pb
from gamenode_server.audit import recording
from gamenode_server.controller.drain import drain_nodes
from gamenode_server.controller.facts import engine_away
from gamenode_server.controller.nodes import label_node, remove_node, revoke_node, set_admin_state
from gamenode_server.core import Core
from gamenode_server.hub import NOW, EventFilter
from gamenode_server.identity import principals
from gamenode_server.notifiers.notifying import Notifying
from gamenode_server.records import Node
from gamenode_server.rpc import containers, documents, finding
from gamenode_server.rpc.log_tail import LogTail, read_log
from gamenode_server.rpc.pace import Pace
from gamenode_server.schedules.scheduler import Scheduler
from gamenode_server.status.attention import attention
from gamenode_server.store import queries
from gamenode_server.triggers.triggering import Triggering

Context = grpc.aio.ServicerContext[Any, Any]

MAX_REASON = 1000
MAX_TARGET = 1000
#: Nodes that are put into messages without a pause.
AT_ONCE = 1000
#: What an operator can make of a node.
_ADMIN_STATES = {ADMIN_STATE[state]: state for state in AdminState}
MAX_DEADLINE = 30 * 86400.0


class StateManagement(state_management_pb2_grpc.StateManagementServicer):
    """Serves operators."""

    def __init__(self, core: Core, scheduler: Scheduler, notifying: Notifying, triggering: Triggering) -> None:
        self._core = core
        self._scheduler = scheduler
        self._notifying = notifying
        self._triggering = triggering

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """What needs attention, and the server's own figures."""
        core, view = self._core, self._core.store.view
        nodes = view.nodes()
        by_state: dict[str, int] = {}
        for node in nodes:
            by_state[node.state] = by_state.get(node.state, 0) + 1
        storage = str(core.store.health)
        items = attention(
            runs=view.live_runs(),
            nodes=nodes,
            skews={session.node_id: session.clock_skew for session in core.sessions},
            now=core.clock.now(),
            wall=core.wall(),
            storage=storage,
            log_problem=core.logs.problem,
            schedules_failed=self._scheduler.failed(),
            notifiers_failing=self._notifying.failing(),
            triggers_failed=self._triggering.failed(),
            engines_away={s.node_id: s.engine_since for s in core.sessions if engine_away(s.facts)},
        )
        return pb.GetStatusResponse(
            server_version=core.version,
            cluster_id=core.cluster.cluster_id,
            started_at=core.started_at,
            nodes_by_state=by_state,
            runs_by_state=await core.store.read(queries.runs_by_state),
            attention=[
                pb.Attention(
                    since=item.since, kind=item.kind, id=item.id, name=item.name, text=item.text, hint=item.hint
                )
                for item in items
            ],
            storage=storage,
            cursor=core.hub.newest,
        )

    # -- nodes ---------------------------------------------------------------------------------------------------------

    async def ListNodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesResponse:
        """The nodes that every selector matches, by name."""
        wanted = _selectors(request.selectors)
        nodes = [node for node in self._core.store.view.nodes() if _matches(wanted, node)]
        return pb.ListNodesResponse(nodes=self._documents(nodes))

    async def GetNode(self, request: pb.GetNodeRequest, context: Context) -> nodes_pb2.Node:
        """One node."""
        return self._document(finding.node(self._core, request.node))

    async def GetNodeMetrics(self, request: pb.GetNodeMetricsRequest, context: Context) -> pb.GetNodeMetricsResponse:
        """The samples of the last hour, oldest first."""
        node = finding.node(self._core, request.node)
        samples = self._core.sessions.history(node.id, request.since)
        return pb.GetNodeMetricsResponse(node_id=node.id, node=node.name, samples=samples)

    async def LabelNode(self, request: pb.LabelNodeRequest, context: Context) -> nodes_pb2.Node:
        """Sets and removes labels."""
        changes = {key: request.set[key] for key in request.set}
        if not changes and not request.remove:
            raise GameNodeError(Code.INVALID_ARGUMENT, "no label to set or to remove is named")
        node = finding.node(self._core, request.node)
        op = label_node(
            node_id=node.id,
            set_=changes,
            remove=request.remove,
            by=principals.current().name,
            audit=recording.current(target=node.name),
        )
        return self._document(await self._core.store.apply(op))

    async def SetNodeAdminState(
        self, request: pb.SetNodeAdminStateRequest, context: Context
    ) -> pb.SetNodeAdminStateResponse:
        """Says whether nodes get work."""
        if not request.nodes:
            raise GameNodeError(Code.INVALID_ARGUMENT, "which nodes? none is named")
        state = _ADMIN_STATES.get(request.state)
        if state is None:
            words = ", ".join(_ADMIN_STATES.values())
            raise GameNodeError(Code.INVALID_ARGUMENT, f"a node can be made one of: {words}")
        if len(request.reason) > MAX_REASON:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"the reason has more than {MAX_REASON} characters")
        if not 0 <= request.deadline <= MAX_DEADLINE or (request.deadline and state is not AdminState.DRAINING):
            raise GameNodeError(Code.INVALID_ARGUMENT, "a deadline is for draining, and at most 30 days")
        nodes = {node.id: node for node in (finding.node(self._core, text) for text in request.nodes)}
        if state is AdminState.DRAINING:
            begin = drain_nodes(
                self._core.plans,
                node_ids=list(nodes),
                deadline=request.deadline,
                by=principals.current().name,
                reason=request.reason,
                audit=recording.current(target=",".join(node.name for node in nodes.values())[:MAX_TARGET]),
            )
            return pb.SetNodeAdminStateResponse(nodes=self._documents(await self._core.store.apply(begin)))
        op = set_admin_state(
            self._core.plans,
            node_ids=list(nodes),
            state=state,
            by=principals.current().name,
            reason=request.reason,
            audit=recording.current(target=",".join(node.name for node in nodes.values())[:MAX_TARGET]),
        )
        return pb.SetNodeAdminStateResponse(nodes=self._documents(await self._core.store.apply(op)))

    async def RevokeNode(self, request: pb.RevokeNodeRequest, context: Context) -> nodes_pb2.Node:
        """Refuses a node from now on."""
        node = finding.node(self._core, request.node)
        op = revoke_node(
            self._core.plans,
            node_id=node.id,
            by=principals.current().name,
            reason=request.reason,
            audit=recording.current(target=node.name),
        )
        return self._document(await self._core.store.apply(op))

    async def RemoveNode(self, request: pb.RemoveNodeRequest, context: Context) -> pb.RemoveNodeResponse:
        """Forgets a node."""
        node = finding.node(self._core, request.node)
        op = remove_node(
            node_id=node.id,
            by=principals.current().name,
            reason=request.reason,
            audit=recording.current(target=node.name),
        )
        await self._core.store.apply(op)
        return pb.RemoveNodeResponse()

    async def WatchNodes(self, request: pb.WatchNodesRequest, context: Context) -> AsyncIterator[pb.NodesUpdate]:
        """Every node that matches, then those that change, come or go."""
        wanted = _selectors(request.selectors)
        view = self._core.store.view
        with self._core.hub.watch_nodes() as watch:
            nodes = [node for node in view.nodes() if _matches(wanted, node)]
            shown = {node.id for node in nodes}
            snapshot = pb.NodesUpdate(snapshot=True)
            for first in range(0, len(nodes), AT_ONCE):
                snapshot.nodes.extend(self._documents(nodes[first : first + AT_ONCE]))
                await asyncio.sleep(0)  # a large fleet does not hold up everybody else
            yield snapshot
            pace = Pace(self._core.intervals.watch)
            while True:
                changes = await watch.changed()
                await pace.turn()
                ids = changes.nodes | watch.take().nodes
                now = [node for id in ids if (node := view.node(id)) is not None and _matches(wanted, node)]
                present = {node.id for node in now}
                gone = (ids & shown) - present
                shown = (shown | present) - gone
                if now or gone:
                    yield pb.NodesUpdate(nodes=self._documents(now), removed=sorted(gone))

    def _document(self, node: Node) -> nodes_pb2.Node:
        return documents.node_document(node, self._core.sessions, self._core.store.view)

    def _documents(self, nodes: Iterable[Node]) -> list[nodes_pb2.Node]:
        return [self._document(node) for node in nodes]

    # -- events and logs -----------------------------------------------------------------------------------------------

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Context) -> AsyncIterator[pb.EventBatch]:
        """Events behind a cursor, then those that come."""
        if request.after < NOW:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{request.after} is not a cursor")
        only = EventFilter(
            types=tuple(request.types),
            node_id=finding.node(self._core, request.node).id if request.node else "",
            run_id=await finding.run_id(self._core, request.run) if request.run else "",
            since=request.since,
            until=request.until,
        )
        batches = self._core.hub.subscribe(after=request.after, only=only, follow=request.follow)
        async with aclosing(batches):
            async for batch in batches:
                yield pb.EventBatch(events=batch.events, cursor=batch.cursor, resync=batch.resync)

    async def TailLogs(self, request: pb.TailLogsRequest, context: Context) -> AsyncIterator[Any]:
        """A run's logs, merged by time."""
        run_id = await finding.run_id(self._core, request.run)
        async with aclosing(LogTail(self._core, run_id, request).pieces()) as pieces:
            async for piece in pieces:
                yield piece

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> pb.ReadLogResponse:
        """A byte range of one log."""
        return await read_log(self._core, request)

    # -- containers ----------------------------------------------------------------------------------------------------

    async def ListContainers(self, request: pb.ListContainersRequest, context: Context) -> pb.ListContainersResponse:
        """The containers of the fleet, as the nodes last told."""
        return containers.list_containers(self._core, request)

    async def TailContainerLogs(self, request: pb.TailContainerLogsRequest, context: Context) -> AsyncIterator[Any]:
        """A container's log, from its node."""
        async with aclosing(containers.tail_container_logs(self._core, request)) as pieces:
            async for piece in pieces:
                yield piece

    async def StopContainer(self, request: pb.StopContainerRequest, context: Context) -> pb.StopContainerResponse:
        """Ends a container of ours."""
        await containers.stop_container(self._core, request)
        return pb.StopContainerResponse()

    async def RemoveContainer(self, request: pb.RemoveContainerRequest, context: Context) -> pb.RemoveContainerResponse:
        """Removes a container of ours."""
        await containers.remove_container(self._core, request)
        return pb.RemoveContainerResponse()


def _selectors(texts: Sequence[str]) -> list[Selector]:
    return [selectors.parse(text) for text in texts if text.strip()]


def _matches(wanted: Sequence[Selector], node: Node) -> bool:
    return all(selector.matches(node.labels) for selector in wanted)
