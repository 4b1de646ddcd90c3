"""What goes on after a commit, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gamenode_proto.v1 import plan_pb2
from gamenode_server.controller.effects import ContinueRun
from gamenode_server.controller.plans import Plans
from gamenode_server.dispatch import Dispatch
from gamenode_server.hub import Hub
from gamenode_server.intervals import Intervals
from gamenode_server.sessions import Sessions
from gamenode_server.store.tx import Tx
from support.fleet import TurnableClock


class Chunks:
    """A store whose every operation but the last hands the run out again, and lets somebody ask right after that."""

    def __init__(self, dispatch: Dispatch, *, chunks: int) -> None:
        self._dispatch = dispatch
        self._left = chunks
        self.waiters: list[asyncio.Task[None]] = []

    async def apply(self, op: Callable[[Tx], object]) -> None:
        await asyncio.sleep(0)
        self._left -= 1
        if self._left:
            self._dispatch.carry_out([ContinueRun("run")])
        self.waiters.append(asyncio.ensure_future(self._dispatch.settled("run")))
        await asyncio.sleep(0)


async def test_whoever_waits_for_a_large_run_waits_to_its_last_chunk_and_no_longer() -> None:
    clock, intervals = TurnableClock(), Intervals()
    dispatch = Dispatch(
        sessions=Sessions(clock=clock, intervals=intervals, hub=Hub()),
        plans=Plans(),
        clock=clock,
        intervals=intervals,
        cluster_id="c",
        sign=lambda ticket: plan_pb2.SignedTicket(ticket=ticket),
        end_calls=lambda *_: None,
        labels=lambda _: {},
        version="0",
    )
    store = Chunks(dispatch, chunks=3)
    dispatch.carry_out([ContinueRun("run")])
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(dispatch.run(store))
        await dispatch.settled("run")
        assert len(store.waiters) == 3
        await asyncio.gather(*store.waiters)
        running.cancel()
    await dispatch.settled("run")  # nothing is left: at once
