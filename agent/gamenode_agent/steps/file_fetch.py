"""The step kind `file.fetch`: a file with the digest it must have, whole or not at all.

It is written beside its place and put there by a rename. An attempt that is taken up again goes on where it got to;
what is there already with the right digest is not fetched.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from gamenode_agent.beside import beside
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.file_sources import Bundled, Source, Stored
from gamenode_agent.steps.file_write import named, place_of, sync_folder, unfinished_of
from gamenode_agent.steps.part_files import digest_of, remove, size_of
from gamenode_agent.steps.web_file import WebFile
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class FileFetch:
    """One attempt. `sha256` hex, empty for any; `unfinished` names the file while it is being written."""

    workspace: str
    source: Source
    path: str
    sha256: str
    mode: int
    unfinished: str

    async def run(self, attempt: Handle) -> Result:
        """Fetches it; raises GameNodeError, INTEGRITY_FAILED for another file than was meant."""
        place = Path(place_of(self.workspace, self.path))
        wanted = await self.source.digest(attempt)
        if self.sha256 not in ("", wanted):
            raise self._another(wanted, self.sha256)
        if await beside(digest_of, place) == wanted:
            await beside(self._set_mode, place)
            attempt.say(f"{place} is there already")
            return _result(place, wanted)
        unfinished = place.parent / self.unfinished
        try:
            await self.source.fetch(attempt, unfinished)
        except GameNodeError:
            remove(unfinished)
            raise
        except OSError as error:
            remove(unfinished)
            raise named(error, str(place)) from error
        digest = await beside(digest_of, unfinished)
        if digest != wanted:
            remove(unfinished)
            raise self._another(str(digest), wanted)
        await beside(self._put, unfinished, place)
        result = _result(place, wanted)
        attempt.say(f"{place}: {result.outputs['bytes']} bytes")
        return result

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left but what was fetched so far, and that goes."""
        remove(Path(self.workspace, self.path).parent / self.unfinished)

    def _another(self, found: str, wanted: str) -> GameNodeError:
        return GameNodeError(
            Code.INTEGRITY_FAILED,
            f"{self.source.named} is another file: it has the SHA-256 {found}, not {wanted}",
            details={"expected": wanted, "found": found},
        )

    def _set_mode(self, place: Path) -> None:
        try:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_mode & 0o7777 != self.mode:
                    os.fchmod(fd, self.mode)
            finally:
                os.close(fd)
        except OSError as error:
            raise named(error, str(place)) from error

    def _put(self, unfinished: Path, place: Path) -> None:
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
            raise named(error, str(place)) from error


def file_fetch(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(
        FileFetch(
            context.workspace,
            _source(context, values["from"], values["url"], values["sha256"], values["max_size"]),
            values["path"],
            values["sha256"],
            int(values["mode"], 8),
            unfinished_of(context.key),
        )
    )


def _source(context: StepContext, from_: str, url: str, sha256: str, max_size: int) -> Source:
    if url:
        return WebFile(url, sha256, max_size)
    for file in context.files:
        if file.path == from_:
            return Bundled(file.path, file.content, hashlib.sha256(file.content).hexdigest())
    return Stored(context.tools.artifact_desk(), from_, max_size)


def _result(place: Path, digest: str) -> Result:
    return Result(outputs={"path": str(place), "bytes": str(size_of(place)), "sha256": digest})
