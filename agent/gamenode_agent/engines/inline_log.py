"""The log of an attempt that the agent carries out itself: as a process's, and gone on with after a restart.

Tells output from the agent's own lines, so that whoever copies output from somewhere else knows how much of it is here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from gamenode_agent.engines.inline_records import Record
from gamenode_agent.supervisor.output import Output
from gamenode_agent.supervisor.protocol import DEFAULT_LOG_LIMIT
from gamenode_proto.logfile import INDEX_SUFFIX, STDERR

logger = logging.getLogger(__name__)

#: Seconds that a growing log waits before it is reported, so that many writes make one report.
DELAY = 0.03


class InlineLog:
    """One attempt's log. `grew` is told its size, at most every `DELAY`."""

    def __init__(self, path: str, limit: int, record: Record, grew: Callable[[int], None]) -> None:
        self._path = path
        self._record = record
        self._grew = grew
        self._output = Output(path, limit or DEFAULT_LOG_LIMIT)
        self._said = 0
        self._telling: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """Bytes in the log."""
        return self._output.size

    @property
    def written(self) -> int:
        """Bytes of output that came."""
        return self._output.total - self._said

    @property
    def settled(self) -> int | None:
        """All bytes that came, where each is in the log or in a hole of it; None where some wait for room."""
        return None if self._output.waiting else self._output.total

    async def resume(self) -> None:
        """Goes on where an earlier agent's ended; what was put behind it to close it is taken away again."""
        closing = self._record.kept.closing
        if closing is not None:
            for path, size in zip((self._path, self._path + INDEX_SUFFIX), closing, strict=True):
                os.truncate(path, size)
        await _step_by_step(self._output.resume())
        self._said = self._record.kept.said_of(self._output.total)
        if self._output.size:
            self._tell()

    def write(self, data: bytes, stream: int, time: float) -> None:
        """Adds output."""
        if data:
            self._add(data, stream, time)

    def say(self, text: str, time: float) -> None:
        """Adds a line of the agent's own, if there is room for it."""
        data = text.encode("utf-8", "replace").rstrip(b"\n") + b"\n"
        try:
            self._record.say(self._output.total, len(data))
        except OSError as error:
            logger.warning("no room to say so in the log: %s", text, extra={"problem": str(error)})
            return
        self._said += len(data)
        self._add(data, STDERR, time)

    async def finish(self, time: float) -> dict[str, Any]:
        """Puts the log together; its summary."""
        self._drop_timer()
        if self._output.over:
            try:
                self._record.closing(os.stat(self._path).st_size, os.stat(self._path + INDEX_SUFFIX).st_size)
            except OSError as error:
                logger.warning("the log may repeat its end after a crash: %s", error, extra={"log": self._path})
        await _step_by_step(self._output.finish(time, keep=True))
        return self._output.summary()

    def tidy(self) -> None:
        """The report that the log is whole is on disk: what it was put together from can go."""
        self._output.drop_parts()

    def close(self) -> None:
        """Closes the files."""
        self._drop_timer()
        self._output.close()

    def _add(self, data: bytes, stream: int, time: float) -> None:
        self._output.add(data, stream, time)
        if self._telling is None and not self._output.over:
            self._telling = asyncio.get_running_loop().call_later(DELAY, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._grew(self._output.size)

    def _drop_timer(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None


async def _step_by_step(work: Iterator[None]) -> None:
    for _ in work:
        await asyncio.sleep(0)  # the loop goes on meanwhile
