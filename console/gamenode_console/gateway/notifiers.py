"""The calls of the notifiers service: who is told of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gamenode_console.gateway.link import Link
from gamenode_proto.v1 import notifiers_pb2 as messages
from gamenode_proto.v1.notifiers_pb2_grpc import NotifiersStub

if TYPE_CHECKING:
    from gamenode_proto.v1.notifiers_pb2_grpc import NotifiersAsyncStub

#: Seconds for a test: longer than any notifier may take.
TEST_TIMEOUT = 150.0


class NotifierCalls:
    """Notifiers, and tests of them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub: NotifiersAsyncStub = NotifiersStub(link.channel)

    async def list_notifiers(self) -> Sequence[messages.Notifier]:
        """Every notifier by name."""
        request = messages.ListNotifiersRequest()
        return (await self._link.call(self._stub.ListNotifiers, request, repeatable=True)).notifiers

    async def test_notifier(self, name: str) -> messages.TestNotifierResponse:
        """Has it tell of a test, once; what came back."""
        request = messages.TestNotifierRequest(name=name)
        return await self._link.call(self._stub.TestNotifier, request, deadline=TEST_TIMEOUT)
