"""The step kind `check.tcp`: waits until something accepts connections. What starts needs a moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from dataclasses import dataclass

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.patience import NotThere, patience, until
from gamenode_agent.steps.tools import Tools


@dataclass(frozen=True, slots=True)
class CheckTcp:
    """One attempt. `seconds` is how long it tries."""

    tools: Tools
    host: str
    port: int
    seconds: float

    async def run(self, attempt: Handle) -> Result:
        """Tries until it connects; sends nothing. Raises STEP_TIMEOUT with the last reason."""
        where = address(self.host, self.port)
        what = f"{where} accepts no connections"
        await until(attempt, self.tools.clock, self._look, seconds=self.seconds, what=what)
        attempt.say(f"{where} accepts connections")
        return Result()

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""

    async def _look(self) -> None:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, UnicodeError) as error:
            raise NotThere(why(error)) from error
        writer.close()
        with contextlib.suppress(OSError):  # it was there, whatever it does now
            await writer.wait_closed()


def check_tcp(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(CheckTcp(context.tools, values["host"], values["port"], patience(context.step.timeout)))


def address(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets where they are needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why(error: OSError | UnicodeError) -> str:
    """In plain words why there is no connection."""
    text = str(error)
    match error:
        case UnicodeError():
            return "the host's name is no name"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror():
            return f"the host's name cannot be resolved: {error.strerror}"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or text}"
    # Of a name with several addresses, each has its own reason.
    if text.count("[Errno") == text.count(f"[Errno {errno.ECONNREFUSED}]") > 0:
        return "connection refused"
    return os.strerror(error.errno) if error.errno else text or type(error).__name__
