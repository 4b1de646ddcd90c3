"""The step kind `file.write`: a text file, whole or not at all.

It is written beside its place and put there by a rename, on disk before that. Its folder must exist; a relative path
stays inside the task's workspace, by whatever links. A file that is replaced keeps its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
from dataclasses import dataclass

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.journal import Attempt
from gamenode_agent.steps.context import StepContext
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class FileWrite:
    """One attempt. `mode` are permission bits; `unfinished` names the file while it is being written."""

    workspace: str
    path: str
    content: str
    mode: int
    unfinished: str

    async def run(self, attempt: Handle) -> Result:
        """Writes it; raises GameNodeError for a place where that cannot be. Once begun it is not cut short."""
        work = asyncio.get_running_loop().run_in_executor(None, self._write)
        try:
            result = await asyncio.shield(work)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: what it brings is how this ended.
            await asyncio.wait({work})
            result = work.result()
        attempt.say(f"{result.outputs['path']}: {result.outputs['bytes']} bytes")
        return result

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """`run` has ended by itself, if it had begun; one of an agent that was killed may have left a piece."""
        place = os.path.join(self.workspace, self.path)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(os.path.dirname(place), self.unfinished))

    def _write(self) -> Result:
        place = place_of(self.workspace, self.path)
        folder = os.path.dirname(place)
        unfinished = os.path.join(folder, self.unfinished)
        data = self.content.encode()
        try:
            try:
                self._put(unfinished, data, place)
                os.rename(unfinished, place)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise
            sync_folder(folder)
        except OSError as error:
            raise named(error, place) from error
        digest = hashlib.sha256(data).hexdigest()
        return Result(outputs={"path": place, "bytes": str(len(data)), "sha256": digest})

    def _put(self, path: str, data: bytes, replaced: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            with contextlib.suppress(FileNotFoundError):
                was = os.lstat(replaced)
                if os.geteuid() == 0:  # nobody else may give a file away
                    os.fchown(fd, was.st_uid, was.st_gid)
            os.fchmod(fd, self.mode)
            os.fsync(fd)
        finally:
            os.close(fd)


def place_of(workspace: str, path: str) -> str:
    """Where a file of this path is written; raises GameNodeError where that cannot be."""
    if ".." in path.split("/"):
        raise GameNodeError(Code.INVALID_ARGUMENT, f"with.path: {path!r} has `..` in it")
    place = os.path.normpath(os.path.join(workspace, path))
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"the folder {folder} is not there on this node; make it in a step before"
        )
    if os.path.isdir(place):
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{place} is a folder on this node; name a file in it")
    if not os.path.isabs(path):
        inside, real = os.path.realpath(workspace), os.path.realpath(folder)
        if os.path.commonpath([inside, real]) != inside:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"with.path: {path!r} leads by a link out of the task's workspace"
            )
    return place


def file_write(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    key = context.key
    return context.inline(
        FileWrite(
            context.workspace,
            values["path"],
            values["content"],
            int(values["mode"], 8),
            unfinished_of(key),
        )
    )


def unfinished_of(key: Attempt) -> str:
    """What a file is called while an attempt writes it."""
    return f".gamenode.{key.task_id}.{key.fence}.{key.step_id}.{key.attempt}"


def sync_folder(folder: str) -> None:
    """Has what was renamed in a folder on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def named(error: OSError, place: str) -> GameNodeError:
    """Why a file cannot be written, by name."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        code = Code.STORAGE_FULL
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        code = Code.PERMISSION_DENIED
    else:
        code = Code.STEP_FAILED
    return GameNodeError(code, f"{place} cannot be written: {error.strerror or error}")
