"""Fills a log book from a run's logs or a container's, on the core's loop; goes on through lost connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gamenode_console import loglines
from gamenode_console.loglines import Ended, Origin
from gamenode_console.model.logbook import BookState, LogBook
from gamenode_pipelines.errors import GameNodeError

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.state_management_pb2 import LogPiece


@dataclass(frozen=True, slots=True)
class Source:
    """Which log: a run's, or of a node or step of it; or a container's on a node."""

    run: str = ""
    node: str = ""
    step: str = ""
    container: str = ""

    @property
    def title(self) -> str:
        """What it is called."""
        if self.container:
            return f"{self.node}/{self.container}"
        return "/".join(part for part in (self.run, self.node, self.step) if part)


async def fill(source: Source, book: LogBook, gateway: Gateway, *, tail: int = -1) -> None:
    """Copies the log into the book until it has ended; its status says how that went.

    With `tail`, of what is there already only the last lines of each step on each node; the book
    says what it lacks.
    """
    now = gateway.clock.now
    book.say(BookState.FOLLOWING, now())
    try:
        if source.container:
            await _container(source, book, gateway, tail)
        else:
            await _run(source, book, gateway, tail)
    except GameNodeError as error:
        book.say(BookState.FAILED, now(), error.message)
    else:
        book.say(BookState.ENDED, now())


async def _run(source: Source, book: LogBook, gateway: Gateway, tail: int) -> None:
    feed = gateway.state.log_feed(source.run, node=source.node, step=source.step, tail=tail)
    begun: set[Origin] = set()
    async for piece in feed.pieces(follow=True):
        ref = piece.ref
        origin = Origin(piece.node, ref.step_id, ref.attempt, ref.fence)
        if origin not in begun:
            begun.add(origin)
            book.lacks(piece.offset)
        if piece.data:
            book.put(origin, piece.time, piece.data)
        if piece.HasField("hole"):
            book.note(origin, piece.time, f"[{loglines.hole(piece)}]", "bad")
        if piece.HasField("end"):
            look = "dim" if piece.end.complete else "warn"
            book.note(origin, piece.time, f"[{_end(origin, piece)}]", look)


def _end(origin: Origin, piece: LogPiece) -> str:
    end = piece.end
    return loglines.summary(Ended(origin, end.complete, end.lines, end.bytes, end.sha256))


async def _container(source: Source, book: LogBook, gateway: Gateway, tail: int) -> None:
    origin = Origin(source.node, source.container, 1, 1)
    async for piece in gateway.containers.logs(source.container, node=source.node, follow=True, tail=tail):
        book.put(origin, piece.time, piece.data)
