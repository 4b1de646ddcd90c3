"""The notifiers service: how each stands, and a test of one. Only translates."""

from __future__ import annotations

from typing import Any

import grpc.aio

from gamenode_proto.v1 import notifiers_pb2 as pb
from gamenode_proto.v1.notifiers_pb2_grpc import NotifiersServicer
from gamenode_server.identity import principals
from gamenode_server.notifiers.notifying import Notifying, Shown

Context = grpc.aio.ServicerContext[Any, Any]


class Notifiers(NotifiersServicer):
    """Serves `gamenode.v1.Notifiers`."""

    def __init__(self, notifying: Notifying) -> None:
        self._notifying = notifying

    async def ListNotifiers(self, request: pb.ListNotifiersRequest, context: Context) -> pb.ListNotifiersResponse:
        """Every notifier by name."""
        return pb.ListNotifiersResponse(notifiers=map(_document, self._notifying.listed()))

    async def TestNotifier(self, request: pb.TestNotifierRequest, context: Context) -> pb.TestNotifierResponse:
        """Tells of a test, now."""
        tried = await self._notifying.test(request.name, by=principals.current().name)
        outcome = tried.outcome
        return pb.TestNotifierResponse(delivered=outcome.delivered, answer=outcome.answer, seconds=tried.seconds)


def _document(shown: Shown) -> pb.Notifier:
    notifier, standing = shown.notifier, shown.standing
    return pb.Notifier(
        name=notifier.name,
        type=notifier.kind,
        target=notifier.target,
        events=notifier.events,
        select=str(notifier.select) if notifier.select is not None else "",
        silent=shown.silent,
        queued=standing.queued,
        sent=standing.sent,
        failed=standing.failed,
        dropped=standing.dropped,
        deduplicated=standing.deduplicated,
        silenced=standing.silenced,
        last_success=standing.last_success,
        last_failure=standing.last_failure,
        last_error=standing.last_error,
        failing_since=standing.failing_since,
    )
