"""Containers for operators: the list, logs fetched from nodes, and commands to nodes. Only translates and waits."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import TypeVar

from gamenode_pipelines import selectors
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_pipelines.states import NodeState
from gamenode_proto.transport import CLIENT_MESSAGE
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from gamenode_proto.v1 import state_management_pb2 as pb
from gamenode_server.audit import recording
from gamenode_server.containers.inventory import RUNNING
from gamenode_server.containers.naming import Found, resolve_container
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.records import NewAudit, NewEvent, Node
from gamenode_server.rpc import finding
from gamenode_server.sessions import Session
from gamenode_server.store.tx import Tx

#: Containers of one answer, more than anybody reads, and their bytes, fewer than a message can hold. Those of one node
#: are always fewer.
MAX_LISTED = 20_000
MAX_LISTED_BYTES = CLIENT_MESSAGE // 2
#: Of a grace period, what a caller may ask for at most, seconds.
MAX_GRACE = 3600.0
MAX_REASON = 1000

C = TypeVar("C", pb.StopContainerRequest, pb.RemoveContainerRequest)


def list_containers(core: Core, request: pb.ListContainersRequest) -> pb.ListContainersResponse:
    """The containers as the nodes last told, by node and name; or the one that is asked for."""
    inventory = core.sessions.containers
    if request.container:
        found = _found(core, request.node, request.container)
        return pb.ListContainersResponse(containers=[_listed(core, found.node, found.container)])
    wanted = [selectors.parse(text) for text in request.selectors if text.strip()]
    answer, size = pb.ListContainersResponse(), 0
    for node in _nodes(core, request.node):
        if not all(selector.matches(node.labels) for selector in wanted):
            continue
        for container in sorted(inventory.of(node.id), key=lambda container: (container.name, container.id)):
            if not request.all and container.state not in RUNNING:
                continue
            listed = _listed(core, node, container)
            size += listed.ByteSize()
            if len(answer.containers) >= MAX_LISTED or size > MAX_LISTED_BYTES:
                raise GameNodeError(
                    Code.LIMIT_EXCEEDED,
                    f"there are more containers than one answer holds, {len(answer.containers)}: ask for those of one "
                    "node, or of nodes with a label",
                )
            answer.containers.append(listed)
    return answer


def _listed(core: Core, node: Node, container: nodes_pb2.Container) -> pb.NodeContainer:
    seen_at = core.sessions.containers.seen_at(node.id)
    return pb.NodeContainer(node_id=node.id, node=node.name, container=container, seen_at=seen_at)


async def stop_container(core: Core, request: pb.StopContainerRequest) -> None:
    """Has the node stop one of our containers; returns when it has."""
    if not -MAX_GRACE <= request.grace <= MAX_GRACE:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"a grace period is at most {MAX_GRACE:g} s")
    await _command(
        core,
        request,
        "stop",
        agent_link_pb2.ContainerCommand(action=agent_link_pb2.ContainerCommand.ACTION_STOP, grace=request.grace),
        patience=max(0.0, request.grace),
    )


async def remove_container(core: Core, request: pb.RemoveContainerRequest) -> None:
    """Has the node remove one of our containers; returns when it has."""
    await _command(
        core,
        request,
        "remove",
        agent_link_pb2.ContainerCommand(
            action=agent_link_pb2.ContainerCommand.ACTION_REMOVE, grace=-1.0, force=request.force
        ),
    )


async def tail_container_logs(
    core: Core, request: pb.TailContainerLogsRequest
) -> AsyncGenerator[pb.ContainerLogPiece, None]:
    """A container's log from its node, to its end."""
    if request.tail < -1:
        raise GameNodeError(Code.INVALID_ARGUMENT, "tail is a number of lines, or -1 for all")
    found = _found(core, request.node, request.container)
    session = _session(core, found.node)
    id = _fresh_id()
    wanted = agent_link_pb2.ContainerLogsWanted(
        request_id=id, container=found.container.id, follow=request.follow, since=request.since, tail=request.tail
    )
    with core.relays.opened(id, found.node.id, on_claim=lambda: session.pending.answered(id, None)) as relay:
        with session.pending.asked(id) as answer:
            session.out.put(agent_link_pb2.ServerFrame(container_logs=wanted))
            late = f"node {found.node.name} was asked for the log of {found.container.name} and did not answer"
            await _answer(answer, core.intervals.answer, late)
        async with aclosing(relay.pieces()) as pieces:
            async for piece in pieces:
                yield pb.ContainerLogPiece(data=piece.data, time=piece.time, stream=piece.stream)


async def _command(
    core: Core, request: C, verb: str, command: agent_link_pb2.ContainerCommand, *, patience: float = 0.0
) -> None:
    if len(request.reason) > MAX_REASON:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"the reason has more than {MAX_REASON} characters")
    found = _found(core, request.node, request.container)
    node, container = found.node, found.container
    audit = recording.current(target=found.path, request=_resolved(request, found))
    if not container.own:
        raise GameNodeError(
            Code.PERMISSION_DENIED,
            f"container {container.name} on {node.name} is not ours: this cluster did not make it, and only shows it",
        )
    session = _session(core, node)
    command.command_id = id = _fresh_id()
    command.container = container.id
    with session.pending.asked(id) as answer:
        # Written down before it is sent: whoever hangs up while the node is at it has asked for it all the same.
        await core.store.apply(_asked(found, verb, by=principals.current().name, reason=request.reason, audit=audit))
        session.out.put(agent_link_pb2.ServerFrame(container_command=command))
        late = (
            f"node {node.name} was told to {verb} container {container.name} and has not said how it went; "
            "it may still do it"
        )
        await _answer(answer, core.intervals.command + patience, late)


def _resolved(request: C, found: Found) -> C:
    """The request with what its words stand for: the node may not be in them, and a prefix says little later on."""
    resolved = type(request)()
    resolved.CopyFrom(request)
    resolved.node, resolved.container = found.node.name, found.container.id
    return resolved


def _asked(found: Found, verb: str, *, by: str, reason: str, audit: NewAudit) -> Callable[[Tx], None]:
    def op(tx: Tx) -> None:
        data = {"container": found.container.name, "id": found.container.id, "reason": reason}
        tx.audit(audit)
        tx.emit([NewEvent(type=f"container.{verb}_requested", node_id=found.node.id, actor=by, data=data)])

    return op


async def _answer(answer: asyncio.Future[Error | None], seconds: float, late: str) -> None:
    """Waits for what the node says. Raises its error, or TIMEOUT in the words of `late`."""
    try:
        async with asyncio.timeout(seconds):
            error = await answer
    except TimeoutError:
        raise GameNodeError(Code.TIMEOUT, late) from None
    if error is not None:
        raise GameNodeError(error.code, error.message, details=error.details)


def _nodes(core: Core, text: str) -> Iterator[Node]:
    if text:
        yield finding.node(core, text)
    else:
        yield from core.store.view.nodes()


def _found(core: Core, node: str, container: str) -> Found:
    """The container a request names; `NODE/NAME` names the node too."""
    if not node and "/" in container.strip("/"):
        node, _, container = container.partition("/")
    return resolve_container(_nodes(core, node), core.sessions.containers, container)


def _session(core: Core, node: Node) -> Session:
    """The session of a node that is there; STATE_CONFLICT for one that is not."""
    session = core.sessions.get(node.id)
    if session is None or session.out.closed:
        state = "not connected" if node.state is NodeState.ONLINE else str(node.state).replace("_", " ")
        raise GameNodeError(Code.STATE_CONFLICT, f"node {node.name} is {state}: it cannot be asked now")
    return session


def _fresh_id() -> str:
    return make_id(secrets.token_bytes(ENTROPY_BYTES))
