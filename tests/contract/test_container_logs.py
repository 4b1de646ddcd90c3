"""What every container engine keeps of logs: every line once, in order, from wherever a reader left off."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from support.engine_bench import Bench, texts
from support.waiting import until


async def test_both_streams_are_told_apart_with_their_times(bench: Bench) -> None:
    ended = await bench.ended("print=out*2", "sleep=0.3", "err=bad*2")
    lines = await bench.log(ended.id)
    assert texts(lines, 1) == ["out 1", "out 2"]
    assert texts(lines, 2) == ["bad 1", "bad 2"]
    # The engine stamps a line when it reads it: the first may be older than the start it notes, the last younger than
    # the end.
    assert all(ended.created_at <= line.time <= ended.finished_at + 10 for line in lines)
    assert lines[0].data == b"out 1\n"


async def test_a_terminal_has_one_stream(bench: Bench) -> None:
    ended = await bench.ended("print=out*3", "long=40000", "print=last", tty=True)
    lines = await bench.log(ended.id)
    assert {line.stream for line in lines} == {1}
    assert b"".join(line.data for line in lines).replace(b"\r\n", b"\n") == (
        b"out 1\nout 2\nout 3\n" + b"x" * 40000 + b"\nlast\n"
    )
    assert len({line.mark for line in lines}) == len(lines)


async def test_following_ends_with_the_container(bench: Bench) -> None:
    container = await bench.started("tick=0.05*10")
    lines = await bench.log(container, follow=True)
    assert texts(lines) == [f"tick {number + 1}" for number in range(10)]
    assert await bench.log(container, follow=True) == lines


async def test_following_begins_before_the_container_does(bench: Bench) -> None:
    container = await bench.engine.create(bench.spec("print=here"))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(bench.log(container, follow=True))
        await asyncio.sleep(0.3)
        await bench.engine.start(container)
    assert texts(reading.result()) == ["here"]


async def test_many_lines_come_whole_and_once(bench: Bench) -> None:
    container = await bench.started("print=line*100000")
    lines = await bench.log(container, follow=True)
    assert texts(lines) == [f"line {number + 1}" for number in range(100_000)]
    assert len({line.mark for line in lines}) == 100_000


async def test_a_long_line_comes_in_parts_that_are_its_whole(bench: Bench) -> None:
    ended = await bench.ended("print=before", "long=100000", "print=after")
    lines = await bench.log(ended.id)
    assert b"".join(line.data for line in lines) == b"before\n" + b"x" * 100_000 + b"\nafter\n"


async def test_a_reader_goes_on_behind_any_line(bench: Bench) -> None:
    ended = await bench.ended("print=a*3", "err=b*3", "long=70000", "err=c*2")
    lines = await bench.log(ended.id)
    for number, line in enumerate(lines):
        assert await bench.log(ended.id, after=line.mark) == lines[number + 1 :]


async def test_only_the_end_or_what_is_new_can_be_asked_for(bench: Bench) -> None:
    ended = await bench.ended("print=old*5", "sleep=0.5", "print=new*5")
    lines = await bench.log(ended.id)
    assert await bench.log(ended.id, tail=3) == lines[-3:]
    assert await bench.log(ended.id, tail=0) == []
    assert texts(await bench.log(ended.id, since=lines[5].time - 0.1)) == texts(lines[5:])


async def test_a_reader_may_stop_early(bench: Bench) -> None:
    container = await bench.started("print=first", "sleep=600")
    for _ in range(3):
        async with contextlib.aclosing(bench.engine.logs(container, follow=True)) as lines:  # type: ignore[type-var]
            assert (await anext(lines)).data == b"first\n"


async def test_a_reader_that_is_cancelled_while_nothing_comes_is_gone_at_once(bench: Bench) -> None:
    container = await bench.started("sleep=600")
    reading = asyncio.get_running_loop().create_task(bench.log(container, follow=True))
    await asyncio.sleep(0.3)
    reading.cancel()
    done, _ = await asyncio.wait([reading], timeout=5)
    assert done
    await until(
        lambda: not any(thread.name.startswith("docker-log") for thread in threading.enumerate()),
        what="its thread to end",
    )


async def test_a_slow_reader_holds_the_engine_back_and_misses_nothing(bench: Bench) -> None:
    container = await bench.started("print=line*50000")
    seen = []
    async with asyncio.timeout(60):
        async for line in bench.engine.logs(container, follow=True):
            seen.append(line.data)
            if len(seen) % 10_000 == 0:
                await asyncio.sleep(0.1)
    assert seen == [f"line {number + 1}\n".encode() for number in range(50_000)]


@pytest.mark.parametrize("live_restore", [True, False])
async def test_a_log_is_followed_over_a_restart_of_the_engine(bench: Bench, live_restore: bool) -> None:
    await bench.faults.restart(live_restore=live_restore)
    try:
        await bench.engine.ready(30)
        container = await bench.started("tick=0.05*60")
        await bench.says(container, "tick 3")
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            reading = group.create_task(bench.log(container, follow=True))
            await asyncio.sleep(0.2)
            await bench.faults.restart(live_restore=live_restore)
        ticks = texts(reading.result())
        assert ticks == [f"tick {number + 1}" for number in range(len(ticks))]
        # Without live-restore the container was ended by the engine: its log is as long as it got.
        assert len(ticks) == 60 if live_restore else 3 <= len(ticks) <= 60
        ended = await bench.engine.wait(container)
        assert ended.ended
    finally:
        if live_restore:
            await bench.faults.restart()


async def test_a_container_that_starts_anew_is_followed_on(bench: Bench) -> None:
    container = await bench.started("print=up", "sleep=600")
    seen: list[bytes] = []

    async def read() -> None:
        async for line in bench.engine.logs(container, follow=True):
            seen.append(line.data)

    reading = asyncio.get_running_loop().create_task(read())
    await until(lambda: seen, what="the first start")
    await bench.engine.restart(container, signal="KILL", grace=10)
    await bench.says(container, "up")
    await bench.engine.kill(container)
    await asyncio.wait([reading], timeout=30)
    lines = await bench.log(container)
    # A follower may have seen its end between the two; then it has all of the first life.
    assert seen in ([b"up\n"], [line.data for line in lines])
