"""What a node keeps, while the server is asked about it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from gamenode_agent.artifacts.carrier import Carrier, Say
from gamenode_agent.artifacts.desk import ArtifactDesk, ref_of
from gamenode_agent.artifacts.kept import LEFT_ALONE, Kept
from gamenode_agent.journal import Attempt
from gamenode_proto.v1.artifacts_pb2 import Artifact, ArtifactOffer

KEY = Attempt("task", 1, "put", 1)
DIGEST = "a" * 64


class Waiting:
    """A carrier that has a server to ask, and none yet that takes a name."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def store(self, offer: ArtifactOffer, fd: int, say: Say) -> Artifact:
        """Once it may."""
        self.asked.set()
        await self.go_on.wait()
        return Artifact(name=offer.name)

    async def unwanted(self, digests: Sequence[str]) -> Sequence[str]:
        """It knows none."""
        return digests


async def test_a_content_whose_name_is_long_on_its_way_stays(tmp_path: Path) -> None:
    carrier = Waiting()
    desk = ArtifactDesk(Kept(tmp_path, reserve=0), cast("Carrier", carrier))
    desk.kept.begin(KEY, 1).write_text("x")
    offer = ArtifactOffer(name="map", digest=DIGEST, bytes=1, ref=ref_of(KEY), on_node=True)
    storing = asyncio.create_task(desk.keep(offer, lambda _: None))
    await carrier.asked.wait()
    os.utime(desk.kept.path(DIGEST), (0, 0))
    await desk.sweep(LEFT_ALONE * 3)
    assert desk.kept.digests() == [DIGEST]
    carrier.go_on.set()
    await storing
    await desk.sweep(LEFT_ALONE * 3)
    assert desk.kept.digests() == []
