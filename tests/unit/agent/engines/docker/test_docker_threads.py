"""Threads for calls and streams: carried through, held back, ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from gamenode_agent.engines.docker import feeds
from gamenode_agent.engines.docker.feeds import Feed
from gamenode_agent.engines.docker.threads import Workers, carried_through, given_up
from support.waiting import until


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(4, "test")
    yield made
    made.close()


async def test_calls_run_side_by_side_and_no_more_than_allowed(workers: Workers) -> None:
    together = threading.Barrier(4)
    assert await asyncio.gather(*(workers.submit(lambda: together.wait(10)) for _ in range(4)))
    running, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(10)
        with lock:
            running -= 1

    calls = [workers.submit(count) for _ in range(12)]
    await until(lambda: running == 4)
    gate.set()
    await asyncio.gather(*calls)
    assert most == 4


async def test_an_error_is_the_caller_s(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await workers.submit(lambda: 1 // 0)


async def test_what_is_carried_through_ends_before_its_cancel_is_told(workers: Workers) -> None:
    began, gate, done = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        gate.wait(10)
        done.set()

    async def ask() -> None:
        await carried_through(workers.submit(call), asyncio.get_running_loop().create_future())

    asking = asyncio.get_running_loop().create_task(ask())
    await until(began.is_set)
    for _ in range(3):
        asking.cancel()
        await asyncio.sleep(0.01)
    assert not asking.done()
    gate.set()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert done.is_set()


@pytest.mark.parametrize("patience", [given_up, carried_through])
async def test_who_is_told_that_the_engine_is_lost_waits_no_longer(workers: Workers, patience: Any) -> None:
    gate = threading.Event()
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, lost.set_result, None)
    assert await patience(workers.submit(lambda: gate.wait(10)), lost)
    gate.set()
    answered = workers.submit(lambda: 7)
    await answered
    assert not await patience(answered, lost)


class Numbers:
    """A source of numbers that notes how far it was asked."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most = most
        self.error = error
        self.given = 0
        self.stopped = threading.Event()

    def batches(self) -> Iterator[Sequence[int]]:
        while self.given < self.most:
            self.given += 1
            yield [self.given]
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.stopped.set()


async def test_a_feed_gives_everything_in_order_and_then_nothing() -> None:
    seen: list[int] = []
    async with Feed(Numbers(5000), lambda _: 1, name="test") as feed:
        while batch := await feed.get():
            seen += batch
        assert await feed.get() == []
    assert seen == list(range(1, 5001))


async def test_a_feed_that_is_not_read_holds_its_source_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MOST", 10)
    source = Numbers(1000)
    async with Feed(source, lambda _: 1, name="test") as feed:
        await until(lambda: source.given >= 10)
        await asyncio.sleep(0.1)
        assert source.given <= 12
        assert await feed.get() == list(range(1, 11))
    assert source.stopped.is_set()
    await asyncio.sleep(0.1)
    assert source.given <= 24


async def test_the_error_of_a_source_comes_behind_what_it_gave() -> None:
    async with Feed(Numbers(3, OSError("broken")), lambda _: 1, name="test") as feed:
        seen: list[int] = []
        while len(seen) < 3:
            seen += await feed.get()
        with pytest.raises(OSError, match="broken"):
            await feed.get()
    assert seen == [1, 2, 3]
