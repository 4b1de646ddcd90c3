"""Serves metrics over HTTP, on threads of its own: a scrape never holds up the event loop, nor a slow client a scrape.

`GET /metrics` and nothing else. Whoever reaches the address may read it, so it is on loopback unless it is told
otherwise. A connection has seconds, and there are few at once.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.addresses import join_address, split_address

logger = logging.getLogger(__name__)

#: Seconds from a connection to its end, however slow its client is.
PATIENCE = 10.0
#: Connections at once; one more is closed unheard.
MOST_CONNECTIONS = 8
_TEXT = [("Content-Type", "text/plain; charset=utf-8")]


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("metrics: " + format, *args)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As the class above, which would ask the name service for this host's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        late = threading.Timer(PATIENCE, _cut, [request])
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a scrape was cut off", exc_info=True)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it ended by itself
        logger.debug("a connection had ended before it was cut")


@contextmanager
def metrics_server(address: str, registry: CollectorRegistry) -> Iterator[str]:
    """Serves the registry; yields the address with its real port. Raises GameNodeError where it cannot be had."""
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        server = _Server(found[0][4][:2], found[0][0])  # type: ignore[arg-type]  # (host, port) of a TCP address
    except OSError as error:
        why = error.strerror or str(error)
        raise GameNodeError(Code.STATE_CONFLICT, f"--metrics-listen: cannot listen on {address}: {why}") from error
    server.set_app(_app(registry))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True)
    thread.start()
    try:
        yield join_address(host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _app(registry: CollectorRegistry) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    exposition = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", _TEXT)
            return [b"metrics are at /metrics\n"]
        try:
            return exposition(environ, start_response)  # type: ignore[no-any-return]
        except Exception:
            logger.exception("metrics could not be collected")
            start_response("503 Service Unavailable", _TEXT)
            return [b"the server is too busy to tell\n"]

    return app
