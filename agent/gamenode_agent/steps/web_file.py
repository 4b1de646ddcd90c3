"""A file from the web: a connection that breaks is made anew and goes on where it got to, where the server can."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from gamenode_agent.beside import beside, write_all
from gamenode_agent.engines.inline import Handle
from gamenode_agent.steps.check_tcp import why
from gamenode_agent.steps.http import MAX_HEAD, Answer, described, read_head, request, without_password
from gamenode_agent.steps.part_files import digest_of, remove, size_of
from gamenode_agent.steps.patience import NotThere
from gamenode_pipelines.errors import Code, GameNodeError

#: Tries that bring nothing new, and the pause between two; seconds without a byte after which a try is over.
TRIES: Final = 5
PAUSE: Final = 1.0
SILENCE: Final = 30.0
#: How often a server may send us elsewhere.
REDIRECTS: Final = 5
_PIECE: Final = 256 * 1024


class _Again(Exception):
    """This try is over; another one may do better. The text says why."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """The file behind a URL. `sha256` hex; `max_size` in bytes."""

    url: str
    sha256: str
    max_size: int

    @property
    def named(self) -> str:
        """The URL, without a password."""
        return without_password(self.url)

    async def digest(self, attempt: Handle) -> str:
        """As whoever wants it has said."""
        return self.sha256

    async def fetch(self, attempt: Handle, unfinished: Path) -> None:
        """Brings it, from where the unfinished file ends, over as many connections as it takes.

        Raises GameNodeError, OSError where the disk says no.
        """
        tries = 0
        while True:
            got = size_of(unfinished)
            try:
                await self._fetch(attempt, unfinished)
                return
            except _Again as problem:
                tries = 0 if size_of(unfinished) > got else tries + 1
                if tries >= TRIES:
                    raise GameNodeError(Code.STEP_FAILED, f"{self.named} cannot be fetched: {problem}") from problem
                attempt.say(f"{problem}; trying again from byte {size_of(unfinished)}")
            await asyncio.sleep(PAUSE)

    async def _fetch(self, attempt: Handle, unfinished: Path) -> None:
        """One try, from where the file ends so far. Raises _Again, GameNodeError."""
        url = self.url
        for _ in range(REDIRECTS + 1):
            try:
                async with asyncio.timeout(SILENCE):
                    reader, writer = await _connect(url)
            except TimeoutError as error:
                raise _Again("it does not answer") from error
            except (OSError, UnicodeError) as error:
                raise _Again(why(error)) from error
            try:
                have = size_of(unfinished)
                writer.write(request(urlsplit(url), [f"Range: bytes={have}-"] if have else []))
                async with asyncio.timeout(SILENCE):
                    answer = await read_head(reader)
                if answer.status in (301, 302, 303, 307, 308):
                    url = _elsewhere(url, answer)
                    attempt.say(f"it is at {without_password(url)}")
                    continue
                await self._take(reader, answer, unfinished, have)
                return
            except TimeoutError as error:
                raise _Again(f"nothing came for {SILENCE:g} s") from error
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                raise _Again("the connection was closed before the answer was whole") from error
            except (NotThere, asyncio.LimitOverrunError, ValueError) as error:
                raise _Again("what it answers is not HTTP") from error
            finally:
                writer.transport.abort()
        raise GameNodeError(Code.STEP_FAILED, f"{self.named} leads from one place to the next")

    async def _take(self, reader: asyncio.StreamReader, answer: Answer, unfinished: Path, have: int) -> None:
        if answer.status == 416:  # what is there is longer than the file, or all of it: its digest tells
            if await beside(digest_of, unfinished) != self.sha256:
                remove(unfinished)
                raise _Again("what was fetched before does not fit")
            return
        goes_on = answer.status == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        if answer.status >= 500 or answer.status == 429:
            raise _Again(f"it answers {described(answer)}")
        if answer.status != 200 and not goes_on:
            raise GameNodeError(Code.STEP_FAILED, f"{self.named} cannot be fetched: it answers {described(answer)}")
        length = answer.headers.get("content-length", "")
        left = int(length) if length.isdecimal() else None
        chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        size = have if goes_on else 0
        self._check(size + (left or 0))
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if goes_on else os.O_TRUNC)
        fd = os.open(unfinished, flags, 0o600)
        try:
            async for piece in _body(reader, left, chunked=chunked):
                self._check(size + len(piece))
                await beside(write_all, fd, piece, size)
                size += len(piece)
        except GameNodeError:
            remove(unfinished)
            raise
        finally:
            os.close(fd)

    def _check(self, size: int) -> None:
        if size > self.max_size:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"{self.named} is larger than {self.max_size} bytes, its `max_size`",
                details={"limit": str(self.max_size)},
            )


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls or None, limit=MAX_HEAD
    )


def _elsewhere(url: str, answer: Answer) -> str:
    """Where a redirect leads. A password is for the host it was given for; nothing leads from TLS to without."""
    target = urljoin(url, answer.headers.get("location", ""))
    old, new = urlsplit(url), urlsplit(target)
    if new.scheme not in ("http", "https") or not new.hostname or (old.scheme == "https" and new.scheme != "https"):
        raise GameNodeError(Code.STEP_FAILED, f"it leads to {without_password(target)[:200]}, which is not followed")
    if old.username is not None and (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port):
        who = old.netloc.rpartition("@")[0]
        return new._replace(netloc=f"{who}@{new.netloc.rpartition('@')[2]}").geturl()
    return target


async def _body(reader: asyncio.StreamReader, left: int | None, *, chunked: bool) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises IncompleteReadError where it ends too early, ValueError for what is no HTTP."""
    if not chunked:
        async for piece in _pieces(reader, left):
            yield piece
        return
    while True:
        async with asyncio.timeout(SILENCE):
            size = int((await reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16)
        if size <= 0:
            return
        async for piece in _pieces(reader, size):
            yield piece
        async with asyncio.timeout(SILENCE):
            await reader.readexactly(2)


async def _pieces(reader: asyncio.StreamReader, left: int | None) -> AsyncIterator[bytes]:
    while left is None or left > 0:
        async with asyncio.timeout(SILENCE):
            piece = await reader.read(_PIECE if left is None else min(left, _PIECE))
        if not piece and left is None:
            return
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        yield piece
        left = None if left is None else left - len(piece)
