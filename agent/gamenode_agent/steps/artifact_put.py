"""The step kind `artifact.put`: a file or a folder of this node under a name, on the server or here.

A file is read up to the size it has at the start, so that one that only grows is stored as it was. A folder becomes an
archive first, and what the node keeps a copy: what is stored is never a file that somebody else may change.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gamenode_agent.artifacts.desk import ArtifactDesk, ref_of
from gamenode_agent.beside import beside
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.journal import Attempt
from gamenode_agent.steps.context import StepContext
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import format_size
from gamenode_proto.packing import Packed, Stopped, copy, digest_of, pack, size_of
from gamenode_proto.v1.artifacts_pb2 import ArtifactOffer


@dataclass(frozen=True, slots=True)
class ArtifactPut:
    """One attempt. `keep` in seconds; 0: as long as the server keeps them."""

    desk: ArtifactDesk
    key: Attempt
    workspace: str
    path: str
    name: str
    on_node: bool
    keep: float

    async def run(self, attempt: Handle) -> Result:
        """Stores it; again is fine. Raises GameNodeError."""
        try:
            return await self._store(attempt)
        except OSError as error:
            raise GameNodeError(Code.STEP_FAILED, f"{self.path} cannot be read: {error.strerror or error}") from error

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """What was made for it goes; what the server has of it goes there after a while."""
        await beside(self.desk.kept.discard, self.key)

    async def _store(self, attempt: Handle) -> Result:
        place = await beside(self._place)
        folder = await beside(os.path.isdir, place)
        fd = -1 if folder else await beside(_open, place)
        made = Path()
        try:
            if folder:
                made = await beside(lambda: self.desk.kept.begin(self.key, size_of(place)))
                packed = await _stoppable(lambda stop: pack(place, made, stop))
                for name in packed.left_out[:20]:
                    attempt.say(f"left out: {name} is no file, folder or link")
            else:
                size = os.fstat(fd).st_size
                if self.on_node:
                    made = await beside(self.desk.kept.begin, self.key, size)
                    packed = await _stoppable(lambda stop: copy(fd, size, made, stop))
                else:
                    packed = await _stoppable(lambda stop: digest_of(fd, size, stop))
            offer = ArtifactOffer(
                name=self.name,
                digest=packed.digest,
                bytes=packed.size,
                folder=folder,
                keep=self.keep,
                ref=ref_of(self.key),
                on_node=self.on_node,
            )
            if self.on_node:
                await self.desk.keep(offer, attempt.say)
            else:
                fd = fd if fd >= 0 else await beside(_open, str(made))
                await self.desk.carrier.store(offer, fd, attempt.say)
        finally:
            if fd >= 0:
                os.close(fd)
            await beside(self.desk.kept.discard, self.key)
        where = "on this node" if self.on_node else "on the server"
        attempt.say(f"{self.name}: {format_size(packed.size)} {where}, sha256:{packed.digest}")
        return Result(outputs={"name": self.name, "sha256": packed.digest, "bytes": str(packed.size)})

    def _place(self) -> str:
        place = os.path.normpath(os.path.join(self.workspace, self.path))
        if not os.path.isabs(self.path):
            inside, real = os.path.realpath(self.workspace), os.path.realpath(place)
            if os.path.commonpath([inside, real]) != inside:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT, f"with.path: {self.path!r} leads by a link out of the task's workspace"
                )
        return place


def artifact_put(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(
        ArtifactPut(
            context.tools.artifact_desk(),
            context.key,
            context.workspace,
            values["path"],
            values["name"],
            values["to"] == "node",
            values["keep"] or 0.0,
        )
    )


def _open(path: str) -> int:
    """Opens a file for reading; raises GameNodeError for what is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise GameNodeError(
            Code.NOT_FOUND, f"with.path: there is no {path} on this node", details={"path": path}
        ) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise GameNodeError(Code.INVALID_ARGUMENT, f"with.path: {path} is neither a file nor a folder")
    return fd


async def _stoppable(work: Callable[[threading.Event], Packed]) -> Packed:
    """Work in a thread that ends soon when this is cancelled."""
    stop = threading.Event()
    task = asyncio.get_running_loop().run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({task})
        if task.exception() is not None and not isinstance(task.exception(), Stopped | OSError):
            raise task.exception() from None  # type: ignore[misc]
        raise
