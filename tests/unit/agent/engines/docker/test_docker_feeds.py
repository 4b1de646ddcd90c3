"""What a feed owes to the loop that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from gamenode_agent.engines.docker.feeds import Feed
from support.waiting import until


class Full:
    """Always has something by the time it is asked."""

    def batches(self) -> Iterator[Sequence[bytes]]:
        yield [b"one"]

    def stop(self) -> None:
        pass


async def test_one_that_always_has_more_gives_the_loop_its_turn() -> None:
    turns: list[str] = []
    async with Feed(Full(), len, name="full") as feed:
        await until(lambda: not feed._thread.is_alive())
        asyncio.get_running_loop().call_soon(turns.append, "others")
        assert await feed.get() == [b"one"]
    assert turns == ["others"]
