"""One agent's log stream: chunks to the log store, acknowledgements once they are on the disk.

Checks that every log is of a task of the calling node. Uploads are taken ahead of the disk as far as the log store has
room; the answers keep their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import LogSummary
from gamenode_pipelines.task_state import Task
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.codec.work import log_summary_from_proto
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1 import agent_link_pb2 as pb
from gamenode_proto.v1 import common_pb2
from gamenode_server.core import Core
from gamenode_server.identity.principals import Principal
from gamenode_server.logs import LogRef
from gamenode_server.logs.files import Finished, Received
from gamenode_server.records import NewAudit, NewEvent
from gamenode_server.store.tx import Tx

Context = grpc.aio.ServicerContext[Any, Any]

#: Uploads that may wait for the disk; then the stream is not read.
WAITING = 256
MAX_ATTEMPT = 1_000_000

_Answer = tuple[common_pb2.AttemptRef, "asyncio.Future[Any] | None", Error | None]


class LogUploads:
    """Serves one Logs call."""

    def __init__(self, core: Core, principal: Principal) -> None:
        self._core = core
        self._principal = principal
        #: The runs of tasks that are this node's, and why others are refused.
        self._runs: dict[str, Task] = {}
        self._refused: dict[str, Error] = {}
        self._answers: asyncio.Queue[_Answer | None] = asyncio.Queue(WAITING)

    async def run(self, uploads: AsyncIterator[pb.LogUpload], context: Context) -> None:
        """Serves the stream to its end. Raises GameNodeError where the disk or the agent is at fault."""
        failure: GameNodeError | None = None
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(self._pump(uploads, group))
            try:
                while (answer := await self._answers.get()) is not None:
                    ack = await self._ack(answer)
                    failpoint("logs.before_ack")
                    await context.write(ack)
            except GameNodeError as error:
                failure = error
            finally:
                pump.cancel()
        if failure is not None:
            raise failure

    async def _pump(self, uploads: AsyncIterator[pb.LogUpload], group: asyncio.TaskGroup) -> None:
        async for upload in uploads:
            match upload.WhichOneof("body"):
                case "chunk":
                    chunk = upload.chunk
                    ref = await self._ref(chunk.ref)
                    future: asyncio.Future[Any] | None = None
                    if isinstance(ref, LogRef):
                        records = [(read.time, read.length, read.stream) for read in chunk.records]
                        future = await self._core.logs.offer(ref, chunk.offset, chunk.data, records)
                    await self._answers.put((chunk.ref, future, None if isinstance(ref, LogRef) else ref))
                case "end":
                    end = upload.end
                    ref = await self._ref(end.ref)
                    if isinstance(ref, LogRef):
                        summary = log_summary_from_proto(end.summary)
                        await self._answers.put((end.ref, group.create_task(self._finish(ref, summary)), None))
                    else:
                        await self._answers.put((end.ref, None, ref))
                case _:  # of a newer agent
                    continue
        await self._answers.put(None)

    async def _finish(self, ref: LogRef, summary: LogSummary) -> Finished | GameNodeError:
        """The end of a log, or why it could not be taken: as a value, for whoever writes the answers."""
        try:
            return await self._core.logs.finish(ref, summary)
        except GameNodeError as error:
            return error

    async def _ack(self, answer: _Answer) -> pb.LogAck:
        ref, future, refused = answer
        if refused is not None or future is None:
            return pb.LogAck(ref=ref, refused=error_to_proto(refused or Error(Code.INTERNAL, "not stored")))
        match await future:
            case Received(offset=offset, rewind=rewind):
                return pb.LogAck(ref=ref, offset=offset, rewind=rewind)
            case Finished() as finished if finished.rewind:
                return pb.LogAck(ref=ref, offset=finished.offset, rewind=True)
            case Finished(status=status, offset=offset) if status.complete:
                return pb.LogAck(ref=ref, offset=offset, complete=True)
            case Finished(offset=offset):
                lost = Error(Code.DATA_LOSS, "the log could not be made whole; what is missing is noted with it")
                return pb.LogAck(ref=ref, offset=offset, refused=error_to_proto(lost))
            case GameNodeError() as error:
                raise error
            case other:
                raise AssertionError(other)

    async def _ref(self, ref: common_pb2.AttemptRef) -> LogRef | Error:
        """The log an upload is of, or why it is not taken."""
        task = self._runs.get(ref.task_id)
        if task is None:
            refused = self._refused.get(ref.task_id)
            if refused is not None:
                return refused
            found = await self._task(ref.task_id)
            if isinstance(found, Error):
                self._refused[ref.task_id] = found
                return found
            task = self._runs[ref.task_id] = found
        if ref.step_id not in task.steps or ref.fence < 1 or not 0 < ref.attempt < MAX_ATTEMPT:
            return Error(Code.INVALID_ARGUMENT, f"task {task.id} has no log of step {ref.step_id[:80]!r}")
        return LogRef.of(task.run_id, ref)

    async def _task(self, task_id: str) -> Task | Error:
        task = self._core.store.view.task(task_id)
        if task is None:
            task = await self._core.store.apply(lambda tx: tx.task(task_id))
        if task is None:
            return Error(Code.NOT_FOUND, f"there is no task {task_id[:80]!r}")
        if task.node.id != self._principal.node_id:
            await self._core.store.apply(_foreign(self._principal, task))
            return Error(Code.PERMISSION_DENIED, f"task {task.id} is not a task of this node")
        return task


def _foreign(principal: Principal, task: Task) -> Any:
    def op(tx: Tx) -> None:
        message = f"task {task.id} is not a task of {principal.name}"
        tx.audit(
            NewAudit(
                principal=principal.name,
                method="Logs",
                target=task.id,
                outcome=Code.PERMISSION_DENIED.value,
                request="",
                source=principal.source,
                reason=message,
            )
        )
        data = {"message": message, "task": task.id}
        tx.emit([NewEvent(type="node.report_refused", node_id=principal.node_id, data=data)])

    return op
