"""The calls of the state management interface that are about containers: the list, their logs, stop and remove."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from gamenode_console.gateway.link import Link
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import state_management_pb2 as messages
from gamenode_proto.v1.state_management_pb2_grpc import StateManagementStub

if TYPE_CHECKING:
    from gamenode_proto.v1.state_management_pb2_grpc import StateManagementAsyncStub

#: Seconds that a node may take for a command beyond its grace period; the server gives up on it before.
_COMMAND_TIME = 90.0
#: Seconds before the newest line from which a broken log is asked for again: engines round, and mix two streams.
_OVERLAP = 0.25
#: What a node that has just lost its server, or the other way round, is refused with for a while.
_PASSING = frozenset(
    {
        Code.DISCONNECTED,
        Code.NOT_FOUND,
        Code.STATE_CONFLICT,
        Code.TIMEOUT,
        Code.ENGINE_UNAVAILABLE,
        Code.LIMIT_EXCEEDED,
    }
)


class SeenPieces:
    """The newest pieces of a container's log that have come, so that those sent again are left out."""

    def __init__(self) -> None:
        self.newest = 0.0
        self._recent: deque[tuple[float, int]] = deque()
        self._again: Counter[tuple[float, int]] = Counter()

    def asked_again(self) -> float:
        """Another stream begins: returns the time from which it has to."""
        self._again = Counter(self._recent)
        return max(0.0, self.newest - _OVERLAP)

    def is_new(self, piece: messages.ContainerLogPiece) -> bool:
        """Whether the piece has not come yet."""
        key = (piece.time, hash((piece.stream, piece.data)))
        if self._again[key] > 0:
            self._again[key] -= 1
            return False
        self.newest = max(self.newest, piece.time)
        self._recent.append(key)
        while self._recent[0][0] < self.newest - 2 * _OVERLAP:
            self._recent.popleft()
        return True


class ContainerCalls:
    """The containers of the fleet, as far as their nodes are there to be asked."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub: StateManagementAsyncStub = StateManagementStub(link.channel)

    async def list(
        self, *, node: str = "", selectors: Sequence[str] = (), all: bool = False
    ) -> Sequence[messages.NodeContainer]:
        """Containers that run, or `all`, by node and name; of one node, or of those that every selector matches."""
        request = messages.ListContainersRequest(node=node, selectors=selectors, all=all)
        return (await self._link.call(self._stub.ListContainers, request, repeatable=True)).containers

    async def get(self, container: str) -> messages.NodeContainer:
        """One container by `[NODE/]NAME`, id or id prefix, whether it runs or not."""
        request = messages.ListContainersRequest(container=container)
        return (await self._link.call(self._stub.ListContainers, request, repeatable=True)).containers[0]

    async def stop(self, container: str, *, node: str = "", grace: float | None = None, reason: str = "") -> None:
        """Stops a container and returns when it has ended. `grace` in seconds; None: the container's own."""
        seconds = -1.0 if grace is None else grace
        request = messages.StopContainerRequest(node=node, container=container, grace=seconds, reason=reason)
        await self._link.call(self._stub.StopContainer, request, deadline=_COMMAND_TIME + max(0.0, seconds))

    async def remove(self, container: str, *, node: str = "", force: bool = False, reason: str = "") -> None:
        """Removes a container and returns when it is gone. With `force` also one that runs."""
        request = messages.RemoveContainerRequest(node=node, container=container, force=force, reason=reason)
        await self._link.call(self._stub.RemoveContainer, request, deadline=_COMMAND_TIME)

    async def logs(
        self, container: str, *, node: str = "", follow: bool = False, since: float = 0.0, tail: int = -1
    ) -> AsyncIterator[messages.ContainerLogPiece]:
        """A container's log from its node, with `follow` until it ends: each piece once, over lost connections too."""
        request = messages.TailContainerLogsRequest(
            node=node, container=container, follow=follow, since=since, tail=tail
        )
        seen = SeenPieces()
        again = False

        async def attempt() -> AsyncIterator[messages.ContainerLogPiece]:
            nonlocal again
            passing = _PASSING if again else frozenset()
            again = True
            if seen.newest:
                # The last lines were asked for once; from here on it is their times that say what is new.
                request.tail, request.since = -1, max(since, seen.asked_again())
            try:
                async with aclosing(self._link.stream(self._stub.TailContainerLogs, request)) as stream:  # type: ignore[type-var]  # an async generator
                    async for piece in stream:
                        yield piece
            except GameNodeError as error:
                if error.code in passing:
                    # Node and server may have to find each other first.
                    raise GameNodeError(Code.DISCONNECTED, error.message) from None
                raise

        async for piece in self._link.resume(attempt, over=lambda: True):
            if seen.is_new(piece):
                yield piece
