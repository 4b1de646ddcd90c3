"""A UDP conversation with one server: bounded, and it hears a refusal at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Datagrams kept for a reader that is slower than the server. What comes beyond them is dropped, as the network would.
_KEPT = 256


class Datagrams:
    """One conversation with one server."""

    def __init__(self, transport: asyncio.DatagramTransport, inbox: _Inbox) -> None:
        self._transport, self._inbox = transport, inbox

    def send(self, data: bytes) -> None:
        """Sends one datagram."""
        self._transport.sendto(data)

    async def receive(self) -> bytes:
        """The next one; raises OSError where the host says there is none to come."""
        came = await self._inbox.came.get()
        if isinstance(came, Exception):
            raise came
        return came


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes | Exception] = asyncio.Queue(_KEPT)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._keep(data)

    def error_received(self, exc: Exception) -> None:
        # The host said that nothing listens there, or that there is no way.
        self._keep(exc)

    def _keep(self, what: bytes | Exception) -> None:
        if not self.came.full():
            self.came.put_nowait(what)


@asynccontextmanager
async def datagrams(host: str, port: int) -> AsyncIterator[Datagrams]:
    """A conversation with that address only; raises OSError where there is no way to it."""
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(_Inbox, remote_addr=(host, port))
    try:
        yield Datagrams(transport, inbox)
    finally:
        transport.close()
