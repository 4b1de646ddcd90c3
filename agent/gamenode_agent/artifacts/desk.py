"""What steps have of artifacts: the way to the server, and what this node keeps."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gamenode_agent.artifacts.carrier import Carrier, Say
from gamenode_agent.artifacts.kept import Kept
from gamenode_agent.beside import beside
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.artifacts_pb2 import Artifact, ArtifactOffer
from gamenode_proto.v1.common_pb2 import AttemptRef


def ref_of(key: Attempt) -> AttemptRef:
    """An attempt as the server knows it."""
    return AttemptRef(task_id=key.task_id, fence=key.fence, step_id=key.step_id, attempt=key.attempt)


@dataclass(frozen=True, slots=True)
class ArtifactDesk:
    """Made once by the composition root."""

    kept: Kept
    carrier: Carrier = field(default_factory=Carrier)
    #: Contents whose names are on the way to the server, which may be away for long.
    _naming: Counter[str] = field(default_factory=Counter)

    async def keep(self, offer: ArtifactOffer, say: Say) -> None:
        """Keeps what an attempt has made for this offer, and has the server name it. Raises GameNodeError, OSError."""
        self._naming[offer.digest] += 1
        try:
            ref = offer.ref
            key = Attempt(ref.task_id, ref.fence, ref.step_id, ref.attempt)
            await beside(self.kept.keep, key, offer.digest)
            await self.carrier.store(offer, -1, say)
        finally:
            self._naming[offer.digest] -= 1

    async def look(self, key: Attempt, said: str, say: Say) -> Artifact:
        """What is meant by a name or digest now. Raises GameNodeError."""
        return await self.carrier.look(ref_of(key), said, say)

    async def bring(self, key: Attempt, said: str, artifact: Artifact, target: Path, say: Say) -> None:
        """The content into a file, behind what is in it already. Raises GameNodeError, OSError. Checks no digest."""
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if artifact.node_id:
                await beside(self._copy, artifact, fd)
            else:
                await self.carrier.fetch(ref_of(key), said, artifact, fd, say)
            await beside(os.fsync, fd)
        finally:
            os.close(fd)

    def _copy(self, artifact: Artifact, fd: int) -> None:
        try:
            with self.kept.path(artifact.digest).open("rb") as source, os.fdopen(os.dup(fd), "wb") as out:
                out.truncate()
                shutil.copyfileobj(source, out, 1 << 20)
        except FileNotFoundError:
            raise GameNodeError(
                Code.DATA_LOSS, f"artifact {artifact.name!r} should be kept on this node, and its content is gone"
            ) from None

    async def sweep(self, wall_now: float) -> None:
        """Removes what no artifact has any more. Raises GameNodeError where the server cannot be asked."""
        await beside(lambda: self.kept.tidy(wall_now=wall_now))
        held = await beside(self.kept.digests)
        if held:
            gone = [digest for digest in await self.carrier.unwanted(held) if not self._naming[digest]]
            await beside(lambda: self.kept.remove(gone, wall_now=wall_now))
