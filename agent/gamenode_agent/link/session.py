"""One session with the server, from Hello to its end: records and heartbeats up, assignments and commands down.

Whatever ends it, the outbox keeps what the server has not acknowledged. Knows nothing of addresses or of trying again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import grpc
import grpc.aio

from gamenode_agent.failures import leaves
from gamenode_agent.link.beats import Beats, News
from gamenode_agent.outbox import Outbox
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.clock import Clock
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1.agent_link_pb2 import (
    AgentFrame,
    Assign,
    Cancel,
    CommandResult,
    Config,
    ContainerCommand,
    ContainerLogsWanted,
    Decide,
    Forget,
    Goodbye,
    Heartbeat,
    Hello,
    OutboxRecord,
    Reset,
    Restart,
    ServerFrame,
    Updates,
    Welcome,
)
from gamenode_proto.version import PROTOCOL, PROTOCOL_MIN

if TYPE_CHECKING:
    from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkAsyncStub

logger = logging.getLogger(__name__)

#: What a server orders besides tasks.
Order = Reset | Restart | ContainerCommand | ContainerLogsWanted

#: Seconds without a word from the server that are always borne.
MIN_SILENCE = 2.0


class Work(Protocol):
    """Who carries out what the server asks for. Every method returns at once and never blocks the loop."""

    @property
    def tasks_running(self) -> int:
        """Tasks that hold a slot."""
        ...

    def assign(self, assign: Assign) -> None:
        """A task to run. It may come again; acknowledged through the outbox."""
        ...

    def cancel(self, cancel: Cancel) -> None:
        """A task to end. It may come again; acknowledged through the outbox."""
        ...

    def decide(self, decide: Decide) -> None:
        """What was said to a step that waits. It may come again; acknowledged by the end of the step."""
        ...

    def forget(self, forget: Forget) -> None:
        """Tasks whose end the server knows."""
        ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds."""

    welcome: float
    silence: float
    goodbye: float


@dataclass(frozen=True, slots=True)
class Drained(Exception):
    """The server wants the session closed, and the agent back after so many seconds."""

    retry_after: float
    reason: str


#: How long the beginning of a task or step waits for company, seconds: a short step then costs the server one commit
#: instead of two, and nobody sees the difference.
LINGER = 0.005
_BEGINNINGS = frozenset({"accepted", "started", "step_started"})


class Session:
    """One session on one channel. `run` it once."""

    def __init__(
        self,
        stub: AgentLinkAsyncStub,
        *,
        hello: Hello,
        outbox: Outbox,
        work: Work,
        news: News,
        clock: Clock,
        limits: SessionLimits,
        on_welcome: Callable[[Welcome], None],
        on_config: Callable[[Config], None],
        on_order: Callable[[Order], None],
    ) -> None:
        self._stub = stub
        self._hello = hello
        self._outbox = outbox
        self._work = work
        self._beats = Beats(news, clock=clock, outbox=outbox, tasks_running=lambda: work.tasks_running)
        self._limits = limits
        self._on_welcome = on_welcome
        self._on_config = on_config
        self._on_order = on_order
        self._call: grpc.aio.StreamStreamCall[AgentFrame, ServerFrame] | None = None
        self._writing = asyncio.Lock()
        self._leaving: asyncio.Event = asyncio.Event()
        self._reason = ""
        self._heard = 0.0
        self._group: asyncio.TaskGroup | None = None
        #: When the server accepted the session, by the loop's clock; 0 before.
        self.welcomed_at = 0.0

    def leave(self, reason: str) -> None:
        """Says goodbye and ends the session; `run` returns soon after."""
        self._reason = reason
        self._leaving.set()

    def send_result(self, command_id: str, error: GameNodeError | None = None) -> None:
        """What became of a command. Not durable: one that is lost with its session is asked for again by a person."""
        result = CommandResult(command_id=command_id)
        if error is not None:
            result.error.code = error.code
            result.error.message = error.message
        if self._group is not None:
            self._group.create_task(self._write(AgentFrame(result=result)))

    async def run(self) -> None:
        """Runs until the session ends.

        Returns after `leave`. Raises Drained where the server asks for it, else GameNodeError with what ended it.
        """
        call = self._stub.Session()
        self._call = call
        try:
            cursor = await self._greet()
            try:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    group.create_task(self._receive())
                    group.create_task(self._send_records(cursor))
                    group.create_task(self._beats.run(self._beat))
                    group.create_task(self._watch())
                    group.create_task(self._say_goodbye())
            except BaseExceptionGroup as ended:
                _reraise(ended)
        except _Left:
            return
        finally:
            self._group = None
            call.cancel()

    async def _greet(self) -> int:
        try:
            async with asyncio.timeout(self._limits.welcome):
                await self._write(AgentFrame(hello=self._hello))
                frame = await self._read()
        except TimeoutError:
            raise GameNodeError(
                Code.TIMEOUT, f"the server did not answer the hello within {self._limits.welcome:g} s"
            ) from None
        if frame.WhichOneof("body") != "welcome":
            raise GameNodeError(Code.PROTOCOL_ERROR, "the server's first frame is not a Welcome")
        welcome = frame.welcome
        if not PROTOCOL_MIN <= welcome.protocol <= PROTOCOL:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"the server speaks protocol {welcome.protocol}, this agent {PROTOCOL_MIN} to {PROTOCOL}",
            )
        if welcome.acked > self._outbox.last:
            raise OutboxRewound(self._outbox.last, welcome.acked)
        self._take_config(welcome.config)
        self.welcomed_at = self._heard = asyncio.get_running_loop().time()
        self._outbox.rewind(welcome.acked)
        self._outbox.ack(welcome.acked)
        self._on_welcome(welcome)
        return max(welcome.acked, self._outbox.first - 1)

    async def _receive(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._read()
            self._heard = loop.time()
            match frame.WhichOneof("body"):
                case "ack":
                    self._outbox.ack(frame.ack.acked)
                case "assign":
                    failpoint("session.assign")
                    self._work.assign(frame.assign)
                case "cancel":
                    self._work.cancel(frame.cancel)
                case "decide":
                    self._work.decide(frame.decide)
                case "forget":
                    self._work.forget(frame.forget)
                case "config":
                    self._take_config(frame.config)
                case "drain":
                    raise Drained(frame.drain.retry_after, frame.drain.reason)
                case "reset":
                    self._on_order(frame.reset)
                case "restart":
                    self._on_order(frame.restart)
                case "container_command":
                    self._on_order(frame.container_command)
                case "container_logs":
                    self._on_order(frame.container_logs)
                case other:  # a newer server's frame, or a second Welcome
                    logger.warning("a frame this agent does not know was ignored", extra={"frame": other or "empty"})

    async def _send_records(self, cursor: int) -> NoReturn:
        while True:
            records = await self._with_what_follows(await self._outbox.batch(cursor), cursor)
            if not records or records[0].seq != cursor + 1:
                # What was there is gone: the server must hear where the outbox begins now.
                raise GameNodeError(Code.SYNC_FAILED, f"record {cursor + 1} of the outbox is gone")
            failpoint("session.before_send")
            await self._write(AgentFrame(updates=Updates(records=records)))
            failpoint("session.sent")
            cursor = records[-1].seq

    async def _with_what_follows(self, records: list[OutboxRecord], cursor: int) -> list[OutboxRecord]:
        """Records that only say that something has begun wait a moment for its end, and share its frame and commit."""
        due = asyncio.get_running_loop().time() + LINGER
        while records and all(record.task_event.WhichOneof("body") in _BEGINNINGS for record in records):
            if not await self._outbox.grown(records[-1].seq, until=due):
                break
            records = await self._outbox.batch(cursor)
        return records

    async def _beat(self, beat: Heartbeat) -> None:
        await self._write(AgentFrame(heartbeat=beat))

    async def _watch(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        while True:
            # By default three beats; never so few seconds that a busy host looks like a dead server.
            limit = self._limits.silence or max(MIN_SILENCE, 3 * self._beats.interval)
            due = self._heard + limit
            await asyncio.sleep(due - loop.time())
            late = loop.time() - due
            if self._heard + limit > due:
                continue
            if late > 1.0:  # this process was stopped, not the server: read what has arrived meanwhile
                self._heard = loop.time() - limit + 2.0
                continue
            raise GameNodeError(Code.DISCONNECTED, f"the server has said nothing for {limit:g} s")

    async def _say_goodbye(self) -> NoReturn:
        await self._leaving.wait()
        assert self._call is not None
        try:
            async with asyncio.timeout(self._limits.goodbye):
                await self._write(AgentFrame(goodbye=Goodbye(reason=self._reason)))
                await self._call.done_writing()
                await asyncio.Event().wait()  # the server closes the stream, which `_receive` hears
        except TimeoutError:
            raise _Left from None
        raise AssertionError

    def _take_config(self, config: Config) -> None:
        self._beats.take_config(config)
        self._on_config(config)

    async def _write(self, frame: AgentFrame) -> None:
        assert self._call is not None
        try:
            async with self._writing:
                await self._call.write(frame)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        except asyncio.InvalidStateError:
            await self._raise_status("the session has ended")

    async def _read(self) -> ServerFrame:
        assert self._call is not None
        try:
            frame: Any = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        if frame is grpc.aio.EOF:
            if self._leaving.is_set():
                raise _Left
            await self._raise_status("the server closed the session")
        result: ServerFrame = frame
        return result

    async def _raise_status(self, otherwise: str) -> NoReturn:
        """The call is over: its status says why."""
        assert self._call is not None
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            raise GameNodeError(Code.DISCONNECTED, otherwise)
        raise from_rpc(
            grpc.aio.AioRpcError(
                code,
                await self._call.initial_metadata(),
                await self._call.trailing_metadata(),
                await self._call.details(),
            )
        )


class OutboxRewound(GameNodeError):
    """The server has records of this outbox that the outbox does not: the agent's files are older than they were."""

    def __init__(self, last: int, acked: int) -> None:
        super().__init__(
            Code.DATA_LOSS,
            f"the outbox ends at record {last}, but the server has up to {acked}: the agent's files were set back",
        )


class _Left(Exception):
    """The session ended because we left."""


def _reraise(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """One reason of several: what the server said comes before what our own tasks made of it."""
    causes = leaves(group)
    for kind in (_Left, Drained, GameNodeError):
        for leaf in causes:
            if isinstance(leaf, kind):
                raise leaf
    raise causes[0]
