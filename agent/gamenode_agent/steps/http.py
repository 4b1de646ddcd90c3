"""HTTP as far as steps speak it: one question, the head of its answer. Bodies are for whoever asks to read."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from gamenode_agent.steps.patience import NotThere

#: Bytes of a head that are read.
MAX_HEAD = 64 << 10
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})(?: ([^\r\n]*))?\r?\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; names of headers are in small letters."""

    status: int
    reason: str
    headers: dict[str, str]


def request(parts: SplitResult, more: Sequence[str] = ()) -> bytes:
    """A question, with `more` headers."""
    host = parts.netloc.rpartition("@")[2].encode("idna" if not parts.netloc.isascii() else "ascii").decode()
    # What is quoted already stays so; anything that could end the line is quoted.
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    lines = [
        f"GET {path}{'?' if query else ''}{query} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: gamenode-agent",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
        *more,
    ]
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {b64encode(who.encode()).decode()}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def read_head(reader: asyncio.StreamReader) -> Answer:
    """The head of the answer; raises NotThere for what is not HTTP."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        match = _STATUS.match(head)
        if match is None:
            raise NotThere("what it answers is not HTTP")
        status = int(match[1])
        if status >= 200:  # else there is more to come
            break
    headers: dict[str, str] = {}
    for line in head[match.end() :].decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return Answer(status, (match[2] or b"").decode("latin-1").strip(), headers)


def described(answer: Answer) -> str:
    """An answer in a few words."""
    where = answer.headers.get("location", "") if 300 <= answer.status < 400 else ""
    return f"{answer.status} {answer.reason[:100]}".strip() + (f" (to {where[:200]})" if where else "")


def without_password(url: str) -> str:
    """A URL as a log may show it."""
    parts = urlsplit(url)
    who, at, where = parts.netloc.rpartition("@")
    return parts._replace(netloc=where).geturl() if at and ":" in who else url
