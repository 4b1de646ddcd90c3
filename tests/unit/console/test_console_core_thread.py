"""The core thread: asked from another loop, it answers, is cancelled, fails and ends without holding that loop up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import pytest

from gamenode_console.core.thread import CoreThread
from gamenode_console.gateway import Gateway
from gamenode_pipelines.errors import Code, GameNodeError
from support.waiting import until

GATEWAY = cast("Gateway", object())


async def connected(core: CoreThread) -> NoReturn:
    core.connected(GATEWAY)
    await asyncio.Event().wait()
    raise AssertionError


async def looking(core: CoreThread) -> NoReturn:
    core.connected(None, "no server to talk to; start one")
    await asyncio.Event().wait()
    raise AssertionError


@contextmanager
def running(life: Callable[[CoreThread], Any] = connected) -> Iterator[CoreThread]:
    core = CoreThread(life)
    core.start()
    try:
        yield core
    finally:
        assert core.stop(10)


async def no_work(gateway: Gateway) -> None:
    raise AssertionError("there is nobody to work with")


async def asked(core: CoreThread, work: Callable[[Gateway], Any]) -> Any:
    """What is answered once there is a connection."""

    async def look() -> tuple[Any] | None:
        try:
            return (await core.ask(work),)
        except GameNodeError as error:
            if error.code is not Code.DISCONNECTED:
                raise
            return None

    return (await until(look))[0]


async def test_work_is_done_on_the_thread_of_the_core() -> None:
    async def work(gateway: Gateway) -> tuple[bool, str]:
        return gateway is GATEWAY, threading.current_thread().name

    with running() as core:
        assert await asked(core, work) == (True, "core")


async def test_without_a_connection_it_says_what_to_do() -> None:
    with running(looking) as core:

        async def told() -> bool:
            with pytest.raises(GameNodeError) as caught:
                await core.ask(no_work)
            assert caught.value.code is Code.DISCONNECTED
            return "start one" in caught.value.message

        await until(told)


async def test_before_its_start_and_after_its_end_nothing_can_be_asked() -> None:
    core = CoreThread(connected)
    assert core.stop(1), "there is nothing to wait for"
    with pytest.raises(GameNodeError):
        await core.ask(no_work)
    with running() as core:
        pass
    for _ in range(2):
        with pytest.raises(GameNodeError) as caught:
            await core.ask(no_work)
        assert caught.value.code is Code.DISCONNECTED


async def test_who_no_longer_waits_ends_the_work() -> None:
    began, ended = threading.Event(), threading.Event()

    async def work(gateway: Gateway) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with running() as core:
        await asked(core, _nothing)
        waiting = asyncio.get_running_loop().create_task(core.ask(work))
        await until(began.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(ended.is_set)


async def test_a_call_whose_connection_is_closed_is_an_error_and_no_cancelling() -> None:
    async def work(gateway: Gateway) -> None:
        raise asyncio.CancelledError  # as a closed channel does

    with running() as core:
        await asked(core, _nothing)
        with pytest.raises(GameNodeError, match="closed before the answer"):
            await core.ask(work)


async def test_who_waits_when_the_core_ends_is_told() -> None:
    began = threading.Event()

    async def work(gateway: Gateway) -> None:
        began.set()
        await asyncio.Event().wait()

    core = CoreThread(connected)
    core.start()
    await asked(core, _nothing)
    waiting = asyncio.get_running_loop().create_task(core.ask(work))
    await until(began.is_set)
    assert await asyncio.to_thread(core.stop, 10)
    with pytest.raises(GameNodeError) as caught:
        await waiting
    assert caught.value.code is Code.DISCONNECTED


async def test_a_feed_waits_for_a_connection_and_ends_when_it_is_told() -> None:
    may_connect = threading.Event()
    seen: list[str] = []

    async def late(core: CoreThread) -> NoReturn:
        await asyncio.to_thread(may_connect.wait)
        await connected(core)

    async def feed(gateway: Gateway) -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    with running(late) as core:
        handle = core.spawn(feed)
        assert seen == []
        may_connect.set()
        await until(lambda: seen == ["began"])
        handle.cancel()
        await until(lambda: seen == ["began", "ended"])


async def test_a_feed_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def feed(gateway: Gateway) -> None:
        raise GameNodeError(Code.NOT_FOUND, "there is no such run")

    with running() as core:
        core.spawn(feed)
        await until(lambda: "there is no such run" in caplog.text)


async def test_a_core_that_hangs_holds_up_nobody() -> None:
    let_go, hangs = threading.Event(), threading.Event()

    async def hang(gateway: Gateway) -> None:
        hangs.set()
        let_go.wait(60)  # the whole loop stands still

    core = CoreThread(connected)
    core.start()
    await asked(core, _nothing)
    waiting = asyncio.get_running_loop().create_task(core.ask(hang))
    try:
        await until(hangs.is_set)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await core.ask(_nothing)
        assert not core.stop(0.1), "it says that it could not end"
    finally:
        let_go.set()
    with contextlib.suppress(GameNodeError):  # whichever came first
        await waiting
    assert core.stop(10)


async def test_a_core_that_breaks_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(core: CoreThread) -> NoReturn:
        raise ZeroDivisionError("a bug")

    with running(broken) as core:
        await until(lambda: core.failure is not None)
    assert isinstance(core.failure, ZeroDivisionError)
    assert "the core has ended" in caplog.text


async def _nothing(gateway: Gateway) -> None:
    return None
