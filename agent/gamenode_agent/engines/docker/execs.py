"""A command in a running container: its output as it comes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from gamenode_agent.engines.docker.finding import CALL_TIMEOUT
from gamenode_agent.engines.docker.streams import Body


class ExecSource:
    """Starts a prepared command and reads what it prints, as (stream, bytes)."""

    def __init__(self, api: Any, exec_id: str) -> None:
        self._api = api
        self._exec_id = exec_id
        self._body = Body()

    def batches(self) -> Iterator[Sequence[tuple[int, bytes]]]:
        """In a thread."""
        api = self._api
        url = api._url("/exec/{0}/start", self._exec_id)
        # Without an upgrade: then the body is what is read, and none of it is left behind in a buffer.
        ask = lambda: api.post(  # noqa: E731
            url, json={"Detach": False, "Tty": False}, stream=True, timeout=(CALL_TIMEOUT, None)
        )
        pending = b""
        for data in self._body.read(ask):
            pending += data or b""
            at, pieces = 0, []
            while len(pending) - at >= 8:
                stream, size = struct.unpack_from(">BxxxL", pending, at)
                if len(pending) - at - 8 < size:
                    break
                pieces.append((stream, pending[at + 8 : at + 8 + size]))
                at += 8 + size
            pending = pending[at:]
            if pieces:
                yield pieces

    def stop(self) -> None:
        """From any thread. The command goes on."""
        self._body.stop()
