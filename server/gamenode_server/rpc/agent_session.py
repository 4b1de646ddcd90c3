"""One agent's control stream, from its Hello to its end: frames to operations, commits to acknowledgements.

One pump reads, so that no read is ever cancelled while the call lives; one applier writes to the store, in batches of
whatever has come in since the last; this call's own task writes frames. Decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import grpc.aio

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import CancelRequested, StepEnded, TaskAccepted, TaskEvent, TaskRefused
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_proto.codec.errors import error_from_proto
from gamenode_proto.codec.work import held_from_proto, task_event_from_proto
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from gamenode_proto.version import PROTOCOL, PROTOCOL_MIN
from gamenode_server.controller.connect import Greeting, close_session, open_session
from gamenode_server.controller.facts import report_facts
from gamenode_server.controller.nodes import quarantine_node
from gamenode_server.controller.updates import NodeReport, Record, apply_updates
from gamenode_server.core import Core
from gamenode_server.identity.principals import Principal
from gamenode_server.sessions import Session
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

AgentContext = grpc.aio.ServicerContext[agent_link_pb2.AgentFrame, agent_link_pb2.ServerFrame]

#: Frames with updates that may wait for the store; then the agent is not read any more.
WAITING_UPDATES = 64
#: Records of one transaction.
MAX_RECORDS = 2000

#: What waits for the store, in the order it came. Quoted: generated classes.
Waiting: TypeAlias = "agent_link_pb2.Updates | nodes_pb2.HostFacts | agent_link_pb2.Goodbye | None"
R = TypeVar("R")


class AgentSession:
    """Serves one Session call."""

    def __init__(self, core: Core, principal: Principal) -> None:
        self._core = core
        self._principal = principal
        self._address = principal.source
        self._updates: asyncio.Queue[Waiting] = asyncio.Queue(WAITING_UPDATES)

    async def run(self, frames: AsyncIterator[agent_link_pb2.AgentFrame], context: AgentContext) -> None:
        """Serves the stream to its end. Raises GameNodeError with what ended it, if it was not the agent."""
        hello = await self._hello(frames)
        async with self._core.admission.admitted():
            session = await self._open(hello)
        failure: GameNodeError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(_closing(session, self._pump(session, frames)))
                applier = group.create_task(_closing(session, self._apply(session)))
                try:
                    while (frame := await session.out.next()) is not None:
                        failpoint("session.before_write")
                        await context.write(frame)
                except GameNodeError as error:
                    failure = error
                finally:
                    pump.cancel()
                    applier.cancel()
        finally:
            self._core.sessions.end(session)
        if failure is not None:
            raise failure

    async def _hello(self, frames: AsyncIterator[agent_link_pb2.AgentFrame]) -> agent_link_pb2.Hello:
        frame = await anext(frames, None)
        if frame is None:
            raise GameNodeError(Code.DISCONNECTED, "the stream ended before its Hello")
        if frame.WhichOneof("body") != "hello":
            raise GameNodeError(Code.PROTOCOL_ERROR, "the first frame of a session is a Hello")
        hello = frame.hello
        if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"the agent speaks protocol {hello.protocol_min} to {hello.protocol_max}, "
                f"this server {PROTOCOL_MIN} to {PROTOCOL}",
            )
        if hello.node_id != self._principal.node_id:
            raise GameNodeError(
                Code.PERMISSION_DENIED,
                f"the certificate is that of node {self._principal.node_id}, not {hello.node_id}",
            )
        if not hello.outbox_id or not hello.agent_run_id:
            raise GameNodeError(Code.PROTOCOL_ERROR, "a Hello names the agent's outbox and its run")
        return hello

    async def _open(self, hello: agent_link_pb2.Hello) -> Session:
        core = self._core
        session = Session(
            id=make_id(secrets.token_bytes(ENTROPY_BYTES)),
            node_id=hello.node_id,
            agent_run_id=hello.agent_run_id,
            address=self._address,
            now=core.clock.now(),
        )
        session.facts = hello.facts
        if hello.now:
            session.clock_skew = hello.now - session.opened_at
        if not core.sessions.begin(session):
            why = "two agents use its identity at the same time; one data directory was copied to another host"
            await core.store.apply(quarantine_node(core.plans, node_id=hello.node_id, reason=why))
            raise GameNodeError(Code.QUARANTINED, f"this node is quarantined: {why}")
        try:
            await core.store.apply(open_session(core.plans, greeting=_greeting(hello, session)))
        except BaseException:
            core.sessions.end(session)
            raise
        if hello.HasField("containers"):
            core.sessions.told(session, hello.containers)
        return session

    async def _pump(self, session: Session, frames: AsyncIterator[agent_link_pb2.AgentFrame]) -> None:
        sessions = self._core.sessions
        async for frame in frames:
            sessions.heard(session)
            match frame.WhichOneof("body"):
                case "updates":
                    await self._updates.put(frame.updates)
                case "heartbeat":
                    sessions.heartbeat(session, frame.heartbeat)
                    if frame.heartbeat.HasField("facts"):
                        await self._updates.put(frame.heartbeat.facts)
                case "goodbye":
                    await self._updates.put(frame.goodbye)
                    return
                case "result":
                    _take_result(session, frame.result)
                case "hello":
                    session.out.close(Error(Code.PROTOCOL_ERROR, "a session has one Hello"))
                    return
                case _:  # a newer agent's frame
                    logger.debug("a frame this server does not know was ignored", extra={"node": session.node_id})
        await self._updates.put(None)

    async def _apply(self, session: Session) -> None:
        while True:
            item = await self._updates.get()
            records: list[Record] = []
            while isinstance(item, agent_link_pb2.Updates):
                records.extend(map(record_of, item.records))
                if self._updates.empty() or len(records) >= MAX_RECORDS:
                    break
                item = self._updates.get_nowait()
            if records and not await self._store(session, records):
                return
            if isinstance(item, nodes_pb2.HostFacts):
                await self._store_facts(session, item)
                continue
            if isinstance(item, agent_link_pb2.Goodbye):
                failpoint("session.goodbye")
                op = close_session(node_id=session.node_id, epoch=session.epoch, reason=item.reason)
                await self._core.store.apply(op)
                self._core.sessions.left(session)
            if not isinstance(item, agent_link_pb2.Updates):
                session.out.finish()
                return

    async def _store(self, session: Session, records: list[Record]) -> bool:
        op = apply_updates(
            self._core.plans, node_id=session.node_id, epoch=session.epoch, records=records, source=self._address
        )
        applied = await self._stored(op)
        if applied.refused is not None:
            session.out.close(applied.refused)
            return False
        failpoint("session.applied")
        for record in records:
            if isinstance(record.body, TaskEvent):
                _note_answer(session, record.body)
        session.acked = applied.acked
        session.out.ack(acked=applied.acked)
        return True

    async def _store_facts(self, session: Session, facts: nodes_pb2.HostFacts) -> None:
        data = facts.SerializeToString(deterministic=True)
        await self._stored(report_facts(self._core.plans, node_id=session.node_id, epoch=session.epoch, facts=data))

    async def _stored(self, op: Callable[[Tx], R]) -> R:
        """Applies; waits for as long as the disk is full. The agent keeps what is not acknowledged."""
        store = self._core.store
        while True:
            try:
                return await store.apply(op)
            except GameNodeError as error:
                if error.code is not Code.STORAGE_FULL:
                    raise
                logger.warning("an agent's report waits for space on the disk", extra={"node": self._principal.name})
                await store.writable()


async def _closing(session: Session, work: Coroutine[Any, Any, None]) -> None:
    """Ends the session with what goes wrong in `work`."""
    try:
        await work
    except GameNodeError as error:
        session.out.close(error.error)


def _take_result(session: Session, result: agent_link_pb2.CommandResult) -> None:
    error = error_from_proto(result.error) if result.HasField("error") and result.error.code else None
    if not session.pending.answered(result.command_id, error):
        said = error.message if error is not None else "done"
        logger.info("command %s, which nobody waits for: %s", result.command_id[:80], said,
                    extra={"node": session.node_id})  # fmt: skip


def _note_answer(session: Session, event: TaskEvent) -> None:
    match event.body:
        case TaskAccepted():
            session.accepted(event.task_id)
        case TaskRefused():
            session.answered(event.task_id, "assign")
        case CancelRequested():
            session.answered(event.task_id, "cancel")
        case StepEnded():
            session.answered(event.task_id, "decision")
        case _:
            pass


def _greeting(hello: agent_link_pb2.Hello, session: Session) -> Greeting:
    facts: Any = hello.facts
    return Greeting(
        session_id=session.id,
        node_id=hello.node_id,
        boot_id=hello.boot_id,
        outbox_id=hello.outbox_id,
        outbox_first=hello.outbox_first,
        max_epoch=hello.max_epoch,
        address=session.address,
        facts=facts.SerializeToString(deterministic=True),
        inventory=tuple(map(held_from_proto, hello.inventory)),
    )


def record_of(record: agent_link_pb2.OutboxRecord) -> Record:
    """An outbox record as the controller takes it.

    One that makes no sense here is passed over and declared: refused, it would hold up what comes behind it for ever.
    """
    match record.WhichOneof("body"):
        case "task_event":
            try:
                return Record(record.seq, task_event_from_proto(record.task_event))
            except GameNodeError as error:
                logger.error("outbox record %d: %s", record.seq, error.message)
                return Record(record.seq, None)
        case "node_event":
            event = record.node_event
            return Record(record.seq, NodeReport(event.at, event.type, dict(event.data)))
        case _:
            return Record(record.seq, None)
