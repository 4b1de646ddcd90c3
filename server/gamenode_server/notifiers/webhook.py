"""One POST to a webhook, on a thread: what is sent, and what the answer means.

A redirect is refused, an answer is read no further than a few KiB, certificates are verified, no proxy is asked, and
all of it together has one deadline. Blocks; raises nothing but for a bug.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from gamenode_server.notifiers.outcome import Outcome, said
from gamenode_server.notifiers.spec import shown_url

logger = logging.getLogger(__name__)

MAX_ANSWER = 4096
#: Answers after which the same message may be taken later.
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Post:
    """A request. `ca` is a file with certificates to trust instead of the system's."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    timeout: float
    ca: str | None = None


def post(request: Post, *, wall: float) -> Outcome:
    """Sends it. `wall` is the time by the wall clock, for answers that name a moment."""
    deadline = time.monotonic() + request.timeout
    try:
        connection = _connection(request)
    except (OSError, ssl.SSLError) as error:
        return Outcome(False, f"the ca-file cannot be used: {error}", again=False)
    cut = threading.Event()

    def late() -> None:
        cut.set()
        _shut(connection)

    timer = threading.Timer(request.timeout, late)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        if cut.is_set():
            raise TimeoutError
        parts = urlsplit(request.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, request.body, dict(request.headers))
        answer = connection.getresponse()
        if cut.is_set():  # its head ended where the connection did
            raise TimeoutError
        # Whoever took the message need not explain it: its text is not waited for.
        text = b"" if 200 <= answer.status < 300 else answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if cut.is_set() or time.monotonic() >= deadline:
            return Outcome(False, f"no whole answer within {request.timeout:g} s")
        return Outcome(False, _why(error))
    finally:
        timer.cancel()
        connection.close()
    return _meaning(answer, text, wall)


def _connection(request: Post) -> http.client.HTTPConnection:
    parts = urlsplit(request.url)
    assert parts.hostname is not None  # the URL was checked
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=request.timeout)
    context = ssl.create_default_context(cafile=request.ca)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=request.timeout, context=context)


def _shut(connection: http.client.HTTPConnection) -> None:
    """Ends whatever the other thread waits for."""
    try:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        logger.debug("a connection had ended before it was cut: %s", error)


def _meaning(answer: http.client.HTTPResponse, text: bytes, wall: float) -> Outcome:
    line = said(f"{answer.status} {answer.reason}".encode())
    if 200 <= answer.status < 300:
        return Outcome(True, line)
    if 300 <= answer.status < 400:
        where = shown_url(answer.headers.get("Location", ""))
        return Outcome(False, f"it answers {line} (to {said(where.encode())}); redirects are not followed", again=False)
    again = answer.status >= 500 or answer.status in _LATER
    wish = _wish(answer.headers.get("Retry-After", ""), wall) if again else 0.0
    return Outcome(False, f"it answers {line}{f': {said(text)}' if said(text) else ''}", again=again, wish=wish)


def _wish(text: str, wall: float) -> float:
    """What `Retry-After` asks for, in seconds; 0 where it says nothing of use."""
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, OverflowError, TypeError):
        return 0.0


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS with it: {error.reason or error}"
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "nothing listens there"
        case socket.gaierror():
            return f"its name cannot be found: {error.strerror or error}"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionError():
            return "the connection was closed before the answer was whole"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return "what it answers is not HTTP"
