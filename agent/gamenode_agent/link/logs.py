"""Ships the logs of attempts: by byte offset, over a connection of its own that is there only while there is something
to send. Complete when the server says so; only then is a log let go.

Sends ahead without a limit worth naming until the server's answers take longer than a second; then the window halves
and grows again in small steps, so that a flood on a slow line never delays a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc
import grpc.aio

from gamenode_agent.failures import leaves
from gamenode_agent.journal import Attempt
from gamenode_agent.link.side_channel import OpenSide
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.backoff import full_jitter
from gamenode_proto.errors import from_rpc
from gamenode_proto.logfile import LogReader
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1.agent_link_pb2 import ChunkRecord, LogAck, LogChunk, LogEnd, LogUpload
from gamenode_proto.v1.common_pb2 import AttemptRef, LogHole, LogSummary

logger = logging.getLogger(__name__)

#: The window never gets smaller than this, and grows by it once it has been too large.
STEP = 32 << 10
#: With an answer under way, less than this waits for it: many small writes then share a message.
SMALL = 16 << 10
#: A log whose end was told this often without "complete" is given up.
MAX_ENDS = 20


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Seconds and bytes."""

    chunk: int
    window: int
    idle_close: float
    slow: float
    reconnect_max: float = 30.0


@dataclass(slots=True)
class _Log:
    key: Attempt
    path: Path
    ref: AttemptRef
    size: int = 0
    sent: int = 0
    acked: int = 0
    summary: LogSummary | None = None
    end_sent: bool = False
    ends: int = 0
    queued: bool = False
    #: The server will not have it at present; asked again by the next session, and when it has ended.
    refused: bool = False
    #: (offset behind it, when sent) of what is not acknowledged.
    in_flight: deque[tuple[int, int, float]] = field(default_factory=deque)

    def restart(self) -> None:
        """A new stream: what is not acknowledged goes again."""
        self.sent = self.acked
        self.end_sent = False
        self.in_flight.clear()


class LogShipper:
    """Every log that the server does not have whole. One loop, no threads; reads files in small pieces."""

    def __init__(self, *, limits: LogLimits, on_done: Callable[[Attempt], None]) -> None:
        self._limits = limits
        self._on_done = on_done
        self._logs: dict[Attempt, _Log] = {}
        self._ready: deque[_Log] = deque()
        self._wake = asyncio.Event()
        self._open: OpenSide | None = None
        self._window = limits.chunk
        self._steady = False
        self._in_flight = 0
        self._moved = False

    @property
    def pending(self) -> int:
        """Logs that the server does not have whole."""
        return len(self._logs)

    def connected(self, open_side: OpenSide | None) -> None:
        """The server can be reached with this; None: it cannot."""
        self._open = open_side
        for log in self._logs.values():
            log.refused = False
            self._queue(log)
        self._wake.set()

    def grown(self, key: Attempt, path: Path, size: int) -> None:
        """There are `size` bytes of this log."""
        log = self._log(key, path)
        log.size = max(log.size, size)
        self._queue(log)

    def ended(self, key: Attempt, path: Path, summary: LogSummary) -> None:
        """The log is closed, and this is what it holds."""
        log = self._log(key, path)
        log.size = max(log.size, summary.bytes)
        log.summary = summary
        log.refused = False
        self._queue(log)

    async def run(self) -> NoReturn:
        """Ships until it is cancelled."""
        failures = 0
        while True:
            while not self._ready or self._open is None:
                self._wake.clear()
                await self._wake.wait()
            self._moved = False
            try:
                await self._ship(self._open)
            except GameNodeError as error:
                failures = 0 if self._moved else failures + 1
                logger.info("the log stream ended: %s", error.message, extra={"code": str(error.code)})
                await asyncio.sleep(full_jitter(failures, random.random(), cap=self._limits.reconnect_max))
            else:
                failures = 0

    def _log(self, key: Attempt, path: Path) -> _Log:
        log = self._logs.get(key)
        if log is None:
            ref = AttemptRef(task_id=key.task_id, fence=key.fence, step_id=key.step_id, attempt=key.attempt)
            log = self._logs[key] = _Log(key, path, ref)
        return log

    def _queue(self, log: _Log) -> None:
        if not log.queued and self._has_work(log):
            log.queued = True
            self._ready.append(log)
            self._wake.set()

    def _has_work(self, log: _Log) -> bool:
        if log.refused:
            return False
        available = log.size - log.sent
        if available > 0:
            return log.summary is not None or available >= SMALL or not log.in_flight
        return log.summary is not None and not log.end_sent

    async def _ship(self, open_side: OpenSide) -> None:
        self._window = self._limits.chunk
        self._steady = False
        self._in_flight = 0
        try:
            async with open_side() as stub:
                call = stub.Logs()
                try:
                    async with asyncio.TaskGroup() as group:
                        receiver = group.create_task(self._receive(call))
                        await self._send(call)
                        await call.done_writing()
                        receiver.cancel()
                except BaseExceptionGroup as ended:
                    causes = leaves(ended)
                    raise next((cause for cause in causes if isinstance(cause, GameNodeError)), causes[0]) from None
                finally:
                    call.cancel()
        finally:
            for log in self._logs.values():
                log.restart()
                self._queue(log)

    async def _send(self, call: grpc.aio.StreamStreamCall[LogUpload, LogAck]) -> None:
        """Sends until there has been nothing to send for a while."""
        while True:
            while not self._ready or self._in_flight >= self._window:
                self._wake.clear()
                try:
                    # Answers that are due are waited for without this limit: the connection's own ends that.
                    async with asyncio.timeout(None if self._in_flight else self._limits.idle_close):
                        await self._wake.wait()
                except TimeoutError:
                    return
            log = self._ready.popleft()
            log.queued = False
            upload = self._next(log)
            if upload is not None:
                failpoint("logs.before_send")
                try:
                    await call.write(upload)
                except grpc.aio.AioRpcError as error:
                    raise from_rpc(error) from error
                except asyncio.InvalidStateError:
                    raise GameNodeError(Code.DISCONNECTED, "the server closed the log stream") from None
            self._queue(log)

    def _next(self, log: _Log) -> LogUpload | None:
        if log.sent < log.size:
            try:
                # Opened for each piece: any number of logs may be under way at once.
                with LogReader(log.path) as reader:
                    chunk = self._chunk(log, reader)
            except OSError as error:
                logger.warning("log %s cannot be read: %s", log.path, error)
                chunk = None
            if chunk is not None:
                log.sent += len(chunk.data)
                self._in_flight += len(chunk.data)
                log.in_flight.append((log.sent, len(chunk.data), asyncio.get_running_loop().time()))
                return LogUpload(chunk=chunk)
            if log.summary is None:
                log.size = log.sent  # told of before it was recorded; the next report covers it
                return None
            # Its bytes are gone: the server is told which ones.
            summary = LogSummary()
            summary.CopyFrom(log.summary)
            summary.holes.append(LogHole(offset=log.sent, length=log.size - log.sent, reason="lost"))
            log.summary, log.size = summary, log.sent
        if log.summary is None or log.end_sent:
            return None
        log.end_sent = True
        log.ends += 1
        return LogUpload(end=LogEnd(ref=log.ref, summary=log.summary))

    def _chunk(self, log: _Log, reader: LogReader) -> LogChunk | None:
        limit = min(self._limits.chunk, self._window)
        data = reader.read(log.sent, limit)
        chunk = LogChunk(ref=log.ref, offset=log.sent)
        length = 0
        for read in reader.chunks(log.sent):
            part = min(read.length, len(data) - length)
            if part <= 0 or (part < read.length and length):
                break  # a read stays whole unless it alone is too large
            chunk.records.append(ChunkRecord(time=read.time, length=part, stream=read.stream))
            length += part
        if not length:
            return None
        chunk.data = data if length == len(data) else data[:length]
        return chunk

    async def _receive(self, call: grpc.aio.StreamStreamCall[LogUpload, LogAck]) -> NoReturn:
        while True:
            try:
                ack: Any = await call.read()
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error
            if ack is grpc.aio.EOF:
                raise GameNodeError(Code.DISCONNECTED, "the server closed the log stream")
            self._acknowledged(ack)

    def _acknowledged(self, ack: LogAck) -> None:
        self._moved = True
        ref = ack.ref
        log = self._logs.get(Attempt(ref.task_id, ref.fence, ref.step_id, ref.attempt))
        if log is None:
            return
        self._settle(log, ack.offset)
        if ack.HasField("refused"):
            if not log.refused:
                logger.warning(
                    "the server will not take a log: %s",
                    ack.refused.message,
                    extra={"task": ref.task_id, "step": ref.step_id, "attempt": ref.attempt, "code": ack.refused.code},
                )
            if log.summary is None:  # its attempt runs, and must not be forgotten for that
                self._withdraw(log)
                log.refused = True
            else:
                self._done(log)
        elif ack.complete:
            failpoint("logs.complete")
            self._done(log)
        elif ack.rewind:
            if log.ends >= MAX_ENDS:
                logger.error(
                    "the server cannot make this log whole, it is given up",
                    extra={"task": ref.task_id, "step": ref.step_id, "attempt": ref.attempt},
                )
                self._done(log)
                return
            log.acked = ack.offset
            raise GameNodeError(Code.SYNC_FAILED, f"the server has this log only up to byte {ack.offset}")
        else:
            log.acked = max(log.acked, ack.offset)
            if ack.offset > log.sent:  # it has more than this process remembers
                log.sent = min(ack.offset, log.size)
            self._queue(log)
        self._wake.set()

    def _settle(self, log: _Log, offset: int) -> None:
        """Takes what is acknowledged off the window, and learns from how long it took."""
        now = asyncio.get_running_loop().time()
        delay = 0.0
        while log.in_flight and log.in_flight[0][0] <= offset:
            _, length, sent_at = log.in_flight.popleft()
            self._in_flight -= length
            delay = now - sent_at
        if not delay:
            return
        if delay > self._limits.slow:
            self._window = max(STEP, self._window // 2)
            self._steady = True
        elif self._steady:
            self._window = min(self._limits.window, self._window + STEP)
        else:
            self._window = min(self._limits.window, self._window * 2)

    def _done(self, log: _Log) -> None:
        self._withdraw(log)
        del self._logs[log.key]
        self._on_done(log.key)

    def _withdraw(self, log: _Log) -> None:
        """Nothing more of it is sent or waited for by now."""
        for _, length, _ in log.in_flight:
            self._in_flight -= length
        log.in_flight.clear()
        if log.queued:
            self._ready.remove(log)
            log.queued = False
