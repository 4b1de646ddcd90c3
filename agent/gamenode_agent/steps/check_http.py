"""The step kind `check.http`: asks a web server until its answer is as wanted.

A redirect is an answer like any other and is not followed; certificates are verified. The answer is read no further
than what is looked for needs, and never beyond its first MiB.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.check_tcp import why
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.http import MAX_HEAD, Answer, described, read_head, request, without_password
from gamenode_agent.steps.patience import NotThere, patience, until
from gamenode_agent.steps.tools import Tools

#: Bytes of a body that are looked at.
MAX_BODY = 1 << 20

_CHARSET = re.compile(r"charset=\"?([A-Za-z0-9._-]+)")


@dataclass(frozen=True, slots=True)
class CheckHttp:
    """One attempt. `seconds` is how long it tries."""

    tools: Tools
    url: str
    status: tuple[int, ...]
    contains: str
    seconds: float

    async def run(self, attempt: Handle) -> Result:
        """Asks until the answer is as wanted. Raises STEP_TIMEOUT with the last reason."""
        shown = without_password(self.url)
        what = f"{shown} does not answer as wanted"
        answer = await until(attempt, self.tools.clock, self._look, seconds=self.seconds, what=what)
        attempt.say(f"{shown} answers {described(answer)}")
        return Result(outputs={"status": str(answer.status)})

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""

    async def _look(self) -> Answer:
        try:
            return await self._ask()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if isinstance(error, ConnectionRefusedError):
                raise NotThere(why(error)) from error
            raise NotThere("the connection was closed before the answer was whole") from error
        except asyncio.LimitOverrunError as error:
            raise NotThere(f"the head of its answer is longer than {MAX_HEAD} bytes") from error
        except (OSError, UnicodeError) as error:
            raise NotThere(why(error)) from error

    async def _ask(self) -> Answer:
        parts = urlsplit(self.url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls or None, limit=MAX_HEAD)
        try:
            writer.write(request(parts))
            answer = await read_head(reader)
            if answer.status not in self.status:
                raise NotThere(f"it answers {described(answer)}")
            if self.contains:
                text = _text(await _body(reader, answer), answer)
                if self.contains not in text:
                    raise NotThere(f"it answers {described(answer)}, without {_shown(self.contains)} in it")
            return answer
        finally:
            # Whatever it still wants to say is not waited for.
            writer.transport.abort()


def check_http(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    step = CheckHttp(context.tools, values["url"], values["status"], values["contains"], patience(context.step.timeout))
    return context.inline(step)


async def _body(reader: asyncio.StreamReader, answer: Answer) -> bytes:
    if answer.status in (204, 304):
        return b""
    if "chunked" in answer.headers.get("transfer-encoding", "").lower():
        return await _chunked(reader)
    length = answer.headers.get("content-length", "")
    if length.isdecimal():
        return await reader.readexactly(min(int(length), MAX_BODY))
    return await _up_to(reader, MAX_BODY)


async def _up_to(reader: asyncio.StreamReader, limit: int) -> bytes:
    found = bytearray()
    while len(found) < limit and (data := await reader.read(limit - len(found))):
        found += data
    return bytes(found)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while len(found) < MAX_BODY:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            raise NotThere("what it answers is not HTTP") from None
        if size <= 0:
            break
        part = min(size, MAX_BODY - len(found))
        found += await reader.readexactly(part)
        if part == size:
            await reader.readexactly(2)
    return bytes(found)


def _text(body: bytes, answer: Answer) -> str:
    match = _CHARSET.search(answer.headers.get("content-type", ""))
    try:
        return body.decode(match[1] if match else "utf-8", "replace")
    except LookupError:  # a character set nobody knows
        return body.decode("utf-8", "replace")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
