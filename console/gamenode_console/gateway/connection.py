"""Opening a connection to a found server, and the three services on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gamenode_console import discovery
from gamenode_console.gateway.administration import AdministrationCalls
from gamenode_console.gateway.containers import ContainerCalls
from gamenode_console.gateway.link import STREAM_PATIENCE, Link
from gamenode_console.gateway.pipelines import PipelineCalls
from gamenode_console.gateway.state import StateCalls
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.login import LocalLogin
from gamenode_proto.process.clock import Clock, SystemClock
from gamenode_proto.transport import open_unix_channel, quiet_core


class Gateway:
    """The control API of one server."""

    def __init__(self, link: Link, *, clock: Clock) -> None:
        self.clock = clock
        self.pipelines = PipelineCalls(link)
        self.state = StateCalls(link, clock=clock)
        self.containers = ContainerCalls(link)
        self.administration = AdministrationCalls(link)


def _silent(text: str) -> None:
    """Nobody wants to hear."""


@asynccontextmanager
async def open_gateway(
    target: discovery.Target,
    *,
    notify: Callable[[str], None] = _silent,
    patience: float = STREAM_PATIENCE,
) -> AsyncIterator[Gateway]:
    """A connection, open as long as the `async with`. `notify` hears of lost and resumed streams.

    Raises GameNodeError: DISCONNECTED (with what to do) where no server answers, also later from any call.
    """
    quiet_core()  # stderr is the person's
    clock = SystemClock()
    login = LocalLogin(target.control_socket, clock=clock)
    try:
        await login.metadata()
        link = Link(open_unix_channel(str(target.control_socket)), login, clock=clock, notify=notify, patience=patience)
        try:
            yield Gateway(link, clock=clock)
        finally:
            await link.close()
    except GameNodeError as error:
        raise discovery.explain_lost(target, error) from None
