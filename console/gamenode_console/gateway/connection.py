"""Opening a connection to a found server, and the services on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc.aio

from gamenode_console import credentials, discovery
from gamenode_console.gateway import network
from gamenode_console.gateway.administration import AdministrationCalls
from gamenode_console.gateway.artifacts import ArtifactCalls
from gamenode_console.gateway.containers import ContainerCalls
from gamenode_console.gateway.link import STREAM_PATIENCE, Link, Login
from gamenode_console.gateway.notifiers import NotifierCalls
from gamenode_console.gateway.pipelines import PipelineCalls
from gamenode_console.gateway.state import StateCalls
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.login import LocalLogin
from gamenode_proto.process.clock import Clock, SystemClock, wall_clock
from gamenode_proto.transport import open_unix_channel


class Gateway:
    """The control API of one server."""

    def __init__(self, link: Link, *, clock: Clock) -> None:
        self.clock = clock
        self.pipelines = PipelineCalls(link)
        self.state = StateCalls(link, clock=clock)
        self.containers = ContainerCalls(link)
        self.administration = AdministrationCalls(link)
        self.notifiers = NotifierCalls(link)
        self.artifacts = ArtifactCalls(link)


def _silent(text: str) -> None:
    """Nobody wants to hear."""


@asynccontextmanager
async def open_gateway(
    target: discovery.AnyTarget,
    *,
    notify: Callable[[str], None] = _silent,
    patience: float = STREAM_PATIENCE,
) -> AsyncIterator[Gateway]:
    """A connection, open as long as the `async with`. `notify` hears of lost and resumed streams.

    Raises GameNodeError: DISCONNECTED (with what to do) where no server answers, also later from any call; over the
    network also what speaks against the credentials.
    """
    if isinstance(target, discovery.NetworkTarget):
        shown = credentials.read(target.credentials, now=wall_clock())
        try:
            channel = network.open_network_channel(target, shown)
            async with _opened(channel, network.CertificateLogin(), notify, patience) as gateway:
                await gateway.administration.who_am_i(patient=False)
                yield gateway
        except GameNodeError as error:
            raise await network.explain_lost(target, shown, error) from None
        return
    login = LocalLogin(target.control_socket, clock=SystemClock())
    try:
        await login.metadata()
        channel = open_unix_channel(str(target.control_socket))
        async with _opened(channel, login, notify, patience) as gateway:
            yield gateway
    except GameNodeError as error:
        raise discovery.explain_lost(target, error) from None


@asynccontextmanager
async def _opened(
    channel: grpc.aio.Channel, login: Login, notify: Callable[[str], None], patience: float
) -> AsyncIterator[Gateway]:
    clock = SystemClock()
    link = Link(channel, login, clock=clock, notify=notify, patience=patience)
    try:
        yield Gateway(link, clock=clock)
    finally:
        await link.close()
