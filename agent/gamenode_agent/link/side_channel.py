"""The second connection to the server, for what is large and may be slow: logs and answers.

There while somebody uses it, shared by all who do; the session never waits behind what it carries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import grpc.aio

from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkStub

if TYPE_CHECKING:
    from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkAsyncStub

#: Opens the second connection, or takes part in the one that is open.
OpenSide = Callable[[], "AbstractAsyncContextManager[AgentLinkAsyncStub]"]


class Uplink(Protocol):
    """Who has something to send by it."""

    def connected(self, open_side: OpenSide | None) -> None:
        """The server of the session that is open now can be reached with this; None: there is no session."""
        ...


class SideChannel:
    """The second connection of one session."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._open_channel = open_channel
        self._channel: grpc.aio.Channel | None = None
        self._users = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AgentLinkAsyncStub]:
        """A stub on it. The last one to leave closes it."""
        if self._channel is None:
            self._channel = self._open_channel()
        channel = self._channel
        self._users += 1
        try:
            yield AgentLinkStub(channel)
        finally:
            self._users -= 1
            if not self._users:
                self._channel = None
                await channel.close()
