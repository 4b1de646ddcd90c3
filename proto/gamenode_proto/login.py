"""How a local client shows who it is: the login socket beside the control socket, from the client's side.

gRPC does not tell who is at the other end of a Unix socket; the kernel does, on a plain one. The client connects to the
login socket, the server reads the peer's uid there and answers with one line of JSON; the token in it goes with every
call.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock
from gamenode_proto.process.places import login_socket_path
from gamenode_proto.transport import bearer

_TIMEOUT = 5.0
_MAX_LINE = 4096
#: A token is replaced when it has less than this many seconds left.
_RENEW_BEFORE = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """A token bound to this process's user."""

    token: str = field(repr=False)
    #: Seconds it is good for, from when it was given.
    lifetime: float


async def fetch_login(control_socket: str | Path) -> Login:
    """Asks the login socket beside a control socket for a token.

    Raises GameNodeError: DISCONNECTED where no server is there, PERMISSION_DENIED where socket or server say no.
    """
    path = login_socket_path(Path(control_socket))
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=_MAX_LINE)
            try:
                line = await reader.readline()
            finally:
                writer.close()
    except PermissionError as error:
        raise GameNodeError(Code.PERMISSION_DENIED, f"this user may not use {path}") from error
    except (OSError, TimeoutError, ValueError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error
        raise GameNodeError(Code.DISCONNECTED, f"no server answers on {path} ({reason})") from error
    return _read(line, path)


def _read(line: bytes, path: Path) -> Login:
    try:
        answer = json.loads(line)
        if "error" in answer:
            raise GameNodeError(Code(answer["error"]["code"]), str(answer["error"]["message"]))
        return Login(str(answer["token"]), float(answer["lifetime"]))
    except (ValueError, KeyError, TypeError) as error:
        raise GameNodeError(Code.PROTOCOL_ERROR, f"{path} does not answer like a GameNode server") from error


class LocalLogin:
    """Keeps a token of one server fresh. For one loop."""

    def __init__(self, control_socket: str | Path, *, clock: Clock) -> None:
        self._socket = control_socket
        self._clock = clock
        self._login: Login | None = None
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """Call metadata that shows the token; asks for one where there is none, or it ends soon."""
        login = self._login
        if login is None or self._clock.now() >= self._renew_at:
            async with self._lock:
                login = self._login
                if login is None or self._clock.now() >= self._renew_at:
                    login = await fetch_login(self._socket)
                    self._login = login
                    self._renew_at = self._clock.now() + max(login.lifetime - _RENEW_BEFORE, login.lifetime / 2)
        return bearer(login.token)

    def forget(self) -> None:
        """Drops the token: the server that gave it is gone."""
        self._login = None
