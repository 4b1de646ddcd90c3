"""The step kind `file.fetch`: a file from the web, whole and with the digest it must have, or not at all.

It is written beside its place and put there by a rename. A connection that breaks is made anew and goes on where it got
to, where the server can; so does an attempt that is taken up again. What is there already with the right digest is
not fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.check_tcp import why
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.file_write import named, place_of, sync_folder, unfinished_of
from gamenode_agent.steps.http import MAX_HEAD, Answer, described, read_head, request, without_password
from gamenode_agent.steps.patience import NotThere
from gamenode_pipelines.errors import Code, GameNodeError

#: Tries that bring nothing new, and the pause between two; seconds without a byte after which a try is over.
TRIES: Final = 5
PAUSE: Final = 1.0
SILENCE: Final = 30.0
#: How often a server may send us elsewhere.
REDIRECTS: Final = 5
_PIECE: Final = 256 * 1024
T = TypeVar("T")


class _Again(Exception):
    """This try is over; another one may do better. The text says why."""


@dataclass(frozen=True, slots=True)
class FileFetch:
    """One attempt. `max_size` in bytes, `sha256` hex; `unfinished` names the file while it is being written."""

    workspace: str
    url: str
    path: str
    sha256: str
    mode: int
    max_size: int
    unfinished: str

    async def run(self, attempt: Handle) -> Result:
        """Fetches it; raises GameNodeError, INTEGRITY_FAILED for another file than was meant."""
        place = place_of(self.workspace, self.path)
        if await _beside(_digest_of, place) == self.sha256:
            attempt.say(f"{place} is there already")
            return await self._result(place)
        unfinished = os.path.join(os.path.dirname(place), self.unfinished)
        tries = 0
        while True:
            got = _size(unfinished)
            try:
                await self._fetch(attempt, unfinished, place)
                break
            except _Again as problem:
                tries = 0 if _size(unfinished) > got else tries + 1
                if tries >= TRIES:
                    raise GameNodeError(
                        Code.STEP_FAILED, f"{without_password(self.url)} cannot be fetched: {problem}"
                    ) from problem
                attempt.say(f"{problem}; trying again from byte {_size(unfinished)}")
            await asyncio.sleep(PAUSE)
        digest = await _beside(_digest_of, unfinished)
        if digest != self.sha256:
            _remove(unfinished)
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"{without_password(self.url)} is another file: it has the SHA-256 {digest}, not {self.sha256}",
                details={"expected": self.sha256, "found": str(digest)},
            )
        await _beside(self._put, unfinished, place)
        result = await self._result(place)
        attempt.say(f"{place}: {result.outputs['bytes']} bytes")
        return result

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left but what was fetched so far, and that goes."""
        place = os.path.join(self.workspace, self.path)
        _remove(os.path.join(os.path.dirname(place), self.unfinished))

    async def _result(self, place: str) -> Result:
        return Result(outputs={"path": place, "bytes": str(_size(place)), "sha256": self.sha256})

    async def _fetch(self, attempt: Handle, unfinished: str, place: str) -> None:
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
                have = _size(unfinished)
                writer.write(request(urlsplit(url), [f"Range: bytes={have}-"] if have else []))
                async with asyncio.timeout(SILENCE):
                    answer = await read_head(reader)
                if answer.status in (301, 302, 303, 307, 308):
                    url = _elsewhere(url, answer)
                    attempt.say(f"it is at {without_password(url)}")
                    continue
                await self._take(reader, answer, unfinished, have, place)
                return
            except TimeoutError as error:
                raise _Again(f"nothing came for {SILENCE:g} s") from error
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                raise _Again("the connection was closed before the answer was whole") from error
            except (NotThere, asyncio.LimitOverrunError, ValueError) as error:
                raise _Again("what it answers is not HTTP") from error
            finally:
                writer.transport.abort()
        raise GameNodeError(Code.STEP_FAILED, f"{without_password(self.url)} leads from one place to the next")

    async def _take(self, reader: asyncio.StreamReader, answer: Answer, unfinished: str, have: int, place: str) -> None:
        if answer.status == 416:  # what is there is longer than the file, or all of it: its digest tells
            if await _beside(_digest_of, unfinished) != self.sha256:
                _remove(unfinished)
                raise _Again("what was fetched before does not fit")
            return
        goes_on = answer.status == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        if answer.status >= 500 or answer.status == 429:
            raise _Again(f"it answers {described(answer)}")
        if answer.status != 200 and not goes_on:
            raise GameNodeError(
                Code.STEP_FAILED, f"{without_password(self.url)} cannot be fetched: it answers {described(answer)}"
            )
        length = answer.headers.get("content-length", "")
        left = int(length) if length.isdecimal() else None
        chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        size = have if goes_on else 0
        self._check(size + (left or 0))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if goes_on else os.O_TRUNC)
            fd = os.open(unfinished, flags, 0o600)
        except OSError as error:
            raise named(error, place) from error
        try:
            os.lseek(fd, size, os.SEEK_SET)
            async for piece in _body(reader, left, chunked=chunked):
                size += len(piece)
                self._check(size)
                try:
                    await _beside(_write, fd, piece)
                except OSError as error:
                    raise named(error, place) from error
        except GameNodeError:
            _remove(unfinished)
            raise
        finally:
            os.close(fd)

    def _check(self, size: int) -> None:
        if size > self.max_size:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"{without_password(self.url)} is larger than {self.max_size} bytes, its `max_size`",
                details={"limit": str(self.max_size)},
            )

    def _put(self, unfinished: str, place: str) -> None:
        try:
            fd = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fchmod(fd, self.mode)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(unfinished, place)
            sync_folder(os.path.dirname(place))
        except OSError as error:
            raise named(error, place) from error


def file_fetch(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(
        FileFetch(
            context.workspace,
            values["url"],
            values["path"],
            values["sha256"],
            int(values["mode"], 8),
            values["max_size"],
            unfinished_of(context.key),
        )
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


async def _beside(work: Callable[..., T], *args: Any) -> T:
    """In a thread, which cannot be cancelled: its files stay open until it is done."""
    task = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _digest_of(path: str) -> str | None:
    """The SHA-256 of a file; None where there is no such file."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
