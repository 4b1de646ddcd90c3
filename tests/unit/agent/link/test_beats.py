"""When a heartbeat is due: at its interval, and sooner for news, but not for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from gamenode_agent.clock import BootClock
from gamenode_agent.link.beats import NEWS_GAP, Beats
from gamenode_proto.v1.agent_link_pb2 import Config, Heartbeat, Hello
from gamenode_proto.v1.nodes_pb2 import Metrics
from support.waiting import until


class Paper:
    """News that a test makes."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.samples = 0
        self.added = 0

    def begin(self, hello: Hello) -> None:
        raise AssertionError("a heartbeat is no hello")

    async def sample(self, now: float) -> Metrics:
        self.samples += 1
        return Metrics(sampled_at=now)

    def add(self, beat: Heartbeat) -> None:
        self.added += 1
        self.changed.clear()


@asynccontextmanager
async def beating(paper: Paper, *, every: float, metrics: float = 100.0) -> AsyncIterator[list[Heartbeat]]:
    told: list[Heartbeat] = []
    outbox: Any = SimpleNamespace(depth=7)
    beats = Beats(paper, clock=BootClock.from_wall(), outbox=outbox, tasks_running=lambda: 3)
    beats.take_config(Config(heartbeat_interval=every, metrics_interval=metrics))

    async def write(beat: Heartbeat) -> None:
        told.append(beat)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(beats.run(write))
        await until(lambda: told, every=0.01, what="the first beat")
        yield told
        running.cancel()


async def test_the_first_beat_comes_at_once_and_says_how_things_are() -> None:
    async with beating(Paper(), every=100.0) as told:
        (first,) = told
        assert (first.seq, first.tasks_running, first.outbox_depth) == (1, 3, 7)
        assert first.HasField("metrics")
        assert first.now > 1e9


async def test_news_do_not_wait_for_the_next_beat() -> None:
    paper = Paper()
    async with beating(paper, every=100.0) as told:
        paper.changed.set()
        await until(lambda: len(told) == 2, seconds=10, every=0.01, what="the news")
        assert told[1].seq == 2
        assert not told[1].HasField("metrics")


async def test_many_news_share_a_beat() -> None:
    paper = Paper()
    loop = asyncio.get_running_loop()
    async with beating(paper, every=100.0) as told:
        began = loop.time()
        for _ in range(100):
            paper.changed.set()
            await asyncio.sleep(0.01)
        assert len(told) <= 2 + (loop.time() - began) / NEWS_GAP


async def test_a_server_that_wants_frequent_beats_gets_them() -> None:
    async with beating(Paper(), every=0.02, metrics=0.04) as told:
        await until(lambda: len(told) >= 10, every=0.01, what="ten beats")
        assert [each.seq for each in told[:10]] == list(range(1, 11))
        assert 2 <= sum(1 for each in told[:10] if each.HasField("metrics")) <= 8


async def test_without_a_word_of_the_server_the_intervals_stay() -> None:
    outbox: Any = SimpleNamespace(depth=0)
    beats = Beats(Paper(), clock=BootClock.from_wall(), outbox=outbox, tasks_running=lambda: 0)
    beats.take_config(Config(heartbeat_interval=2.0))
    beats.take_config(Config())
    assert beats.interval == 2.0
