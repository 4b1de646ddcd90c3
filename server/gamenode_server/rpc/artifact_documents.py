"""Artifacts and their offers, between messages and records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import artifacts_pb2 as pb
from gamenode_server.artifacts.shelf import Offer, Shelf
from gamenode_server.store.artifacts import Artifact


def document(artifact: Artifact, node: str = "") -> pb.Artifact:
    """An artifact as a message; `node` is the name of the node that keeps it."""
    return pb.Artifact(
        name=artifact.name,
        digest=artifact.digest,
        bytes=artifact.bytes,
        folder=artifact.folder,
        node_id=artifact.node_id,
        node=node,
        created_at=artifact.created_at,
        created_by=artifact.created_by,
        expires_at=artifact.expires_at,
        run_id=artifact.run_id,
        task_id=artifact.task_id,
        step_id=artifact.step_id,
    )


def offer_of(said: pb.ArtifactOffer, *, by: str, sender: str, node_id: str = "", run_id: str = "") -> Offer:
    """An offer as a record; `node_id` where the node keeps the content."""
    artifact = Artifact(
        name=said.name,
        digest=said.digest,
        node_id=node_id,
        bytes=said.bytes,
        folder=said.folder,
        created_at=0.0,
        created_by=by,
        expires_at=0.0,
        run_id=run_id,
        task_id=said.ref.task_id if run_id else "",
        step_id=said.ref.step_id if run_id else "",
    )
    return Offer(artifact, said.keep, sender)


async def first_of(pieces: AsyncIterator[pb.ArtifactPiece]) -> pb.ArtifactPiece:
    """The first piece of an upload, which says what it is of."""
    first = await anext(pieces, None)
    if first is None or not first.HasField("offer"):
        raise GameNodeError(Code.PROTOCOL_ERROR, "the first piece of an upload must say what it is of")
    return first


async def received(first: pb.ArtifactPiece, rest: AsyncIterator[pb.ArtifactPiece]) -> AsyncIterator[tuple[int, bytes]]:
    """The pieces of an upload."""
    yield first.offset, first.data
    async for piece in rest:
        yield piece.offset, piece.data


async def sent(
    shelf: Shelf, artifact: Artifact, offset: int, *, data: bool = True
) -> AsyncGenerator[pb.ArtifactPiece, None]:
    """A download: what it is, then its content from `offset`; without `data` only what it is."""
    if not 0 <= offset <= artifact.bytes:
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"artifact {artifact.name!r} has {artifact.bytes} bytes; none at {offset}"
        )
    yield pb.ArtifactPiece(artifact=document(artifact), offset=offset)
    if data:
        async with aclosing(shelf.read(artifact.digest, offset)) as content:
            async for at, piece in content:
                yield pb.ArtifactPiece(offset=at, data=piece)
