"""Where a file that is fetched comes from: the web, the bundle, an artifact."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.beside import beside, write_all
from gamenode_agent.engines.inline import Handle
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.artifacts_pb2 import Artifact


class Source(Protocol):
    """Where a file comes from."""

    @property
    def named(self) -> str:
        """What it is called to people."""
        ...

    async def digest(self, attempt: Handle) -> str:
        """The SHA-256 that it must have, hex; raises GameNodeError where there is no such file."""
        ...

    async def fetch(self, attempt: Handle, unfinished: Path) -> None:
        """Brings it, from where the unfinished file ends. Raises GameNodeError, OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Bundled:
    """A file that came with the task. `sha256` is that of `content`."""

    name: str
    content: bytes
    sha256: str

    @property
    def named(self) -> str:
        """Its name."""
        return self.name

    async def digest(self, attempt: Handle) -> str:
        """Its own."""
        return self.sha256

    async def fetch(self, attempt: Handle, unfinished: Path) -> None:
        """Writes it."""
        await beside(_write, unfinished, self.content)


@dataclass(slots=True)
class Stored:
    """An artifact, by name or digest. The content that was found first is the one that is fetched."""

    desk: ArtifactDesk
    said: str
    max_size: int = 0
    _found: Artifact | None = None

    @property
    def named(self) -> str:
        """Its name."""
        return f"artifact {self.said}"

    async def digest(self, attempt: Handle) -> str:
        """That of the newest content of the name."""
        artifact = await self.desk.look(attempt.key, self.said, attempt.say)
        if self.max_size and artifact.bytes > self.max_size:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"{self.named} is larger than {self.max_size} bytes, its `max_size`",
                details={"limit": str(self.max_size)},
            )
        self._found = artifact
        return artifact.digest

    async def fetch(self, attempt: Handle, unfinished: Path) -> None:
        """Brings it. An unfinished file of another content, which the name meant before, is begun anew."""
        artifact = self._found
        assert artifact is not None, "its digest was asked for"
        if attempt.notes.get("digest") != artifact.digest:
            await beside(lambda: unfinished.unlink(missing_ok=True))
            attempt.note(digest=artifact.digest)
        await self.desk.bring(attempt.key, self.said, artifact, unfinished, attempt.say)


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, content, 0)
    finally:
        os.close(fd)
