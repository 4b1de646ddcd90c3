"""A container's log into its attempt's, once each byte, over restarts of the agent and of the engine.

Every second or megabyte it is noted up to where the log has been taken over: the engine's own mark of the last line,
and how many bytes the attempt had by then. An agent that takes up the attempt reads on from there and leaves out what
came between the note and its predecessor's end, which the attempt's own count tells exactly. So a note may be late, or
be lost on a full disk: only more is read again.
"""

from __future__ import annotations

import asyncio
import logging

from gamenode_agent.engines.containers import ContainerEngine, LogLine
from gamenode_agent.engines.inline import Handle
from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

#: Seconds between two notes, or so many bytes: engines throw away the oldest of a long log, and what was not noted is
#: read again.
NOTE_EVERY = 1.0
NOTE_BYTES = 1 << 20
#: Lines of one stream that come at once are written together up to so many bytes…
_BLOCK = 64 << 10
#: … and if they are no further apart than this, so that each keeps its time.
_APART = 0.01
#: Lines after which the loop gets its turn, however fast they come.
_TURN = 256

_NOTE = "spool"


class Spool:
    """Copies one container's log. One call at a time."""

    def __init__(self, engine: ContainerEngine, container: str, attempt: Handle, *, since: float = 0.0) -> None:
        """`since`: what is older, in Unix seconds of the engine, is not of this attempt."""
        self._engine = engine
        self._container = container
        self._attempt = attempt
        self._since = since
        # Up to here it is taken over, or waits in `_block`.
        self._mark = ""
        self._block: list[bytes] = []
        self._size = 0
        self._stream = 0
        self._time = 0.0
        self._flushing: asyncio.Handle | None = None
        #: Bytes of what comes that the attempt has already.
        self._skip = attempt.written
        self._noted_at = 0.0
        #: Bytes written since it was noted.
        self._unnoted = 0
        noted = attempt.notes.get(_NOTE)
        if isinstance(noted, dict):
            self._mark = str(noted["mark"])
            self._skip = max(0, attempt.written - int(noted["bytes"]))

    async def follow(self) -> None:
        """Copies until the container has ended, and the rest of its log is there."""
        await self._copy(follow=True)

    async def rest(self) -> None:
        """Copies what there is."""
        await self._copy(follow=False)

    async def _copy(self, *, follow: bool) -> None:
        lines = 0
        try:
            async for line in self._engine.logs(self._container, after=self._mark, since=self._since, follow=follow):
                self._take(line)
                lines += 1
                if lines % _TURN == 0:
                    await asyncio.sleep(0)
        except GameNodeError as error:
            if error.code is not Code.INVALID_ARGUMENT:
                raise
            self._attempt.say(f"the output of this container cannot be read: {error.message}")
        finally:
            self.flush(ending=True)

    def _take(self, line: LogLine) -> None:
        data = line.data
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if data:
            if self._block and (line.stream != self._stream or self._size >= _BLOCK or line.time - self._time > _APART):
                self.flush()
            if not self._block:
                self._stream, self._time = line.stream, line.time
                self._flushing = asyncio.get_running_loop().call_soon(self.flush)
            self._block.append(data)
            self._size += len(data)
        self._mark = line.mark

    def flush(self, *, ending: bool = False) -> None:
        """Writes what waits, and notes now and then how far it got."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._block:
            data = b"".join(self._block)
            self._block.clear()
            self._size = 0
            self._attempt.write(data, self._stream, self._time)
            self._unnoted += len(data)
        now = asyncio.get_running_loop().time()
        if self._unnoted and (ending or self._unnoted >= NOTE_BYTES or now - self._noted_at >= NOTE_EVERY):
            self._noted_at = now
            self._note()

    def _note(self) -> None:
        try:
            self._unnoted = 0
            self._attempt.note(**{_NOTE: {"mark": self._mark, "bytes": self._attempt.written}})
        except OSError as error:
            # The old note is as true as it was: a resume reads more again, that is all.
            logger.debug("how far a container's log was copied could not be noted: %s", error)


async def last_lines(engine: ContainerEngine, container: str, *, lines: int = 10, most: int = 2000) -> str:
    """The end of a container's log as text, for an error's message; why it cannot be had, where it cannot."""
    try:
        found = [line.data async for line in engine.logs(container, tail=lines)]
    except GameNodeError as error:
        return f"(its log cannot be read: {error.message})"
    text = b"".join(found).decode(errors="replace").strip()
    return text[-most:] if text else "(it has printed nothing)"
