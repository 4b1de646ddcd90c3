"""Operations in batches: one commit for what waits, each to itself when the batch fails, and what follows a commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gamenode_proto.process.writer import BatchWriter, WriterClosed


class Lists:
    """A backend that keeps what was committed in a list of batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.rolled_back: list[list[str]] = []
        self.closed = False
        self.refuse = ""
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[int] = set()

    def begin(self) -> list[str]:
        self.gate.wait(10)
        self.threads.add(threading.get_ident())
        return []

    def run(self, tx: list[str], operation: Callable[[list[str]], Any]) -> Any:
        mark = len(tx)
        try:
            return operation(tx)
        except BaseException:
            del tx[mark:]
            raise

    def commit(self, tx: list[str]) -> None:
        if self.refuse in tx:
            raise OSError("no")
        self.batches.append(tx)

    def rollback(self, tx: list[str]) -> None:
        self.rolled_back.append(tx)

    def close(self) -> None:
        self.closed = True


def _add(word: str) -> Callable[[list[str]], str]:
    def operation(tx: list[str]) -> str:
        tx.append(word)
        return word

    return operation


def _fail(tx: list[str]) -> None:
    tx.append("half")
    raise KeyError("no")


async def _all(writer: BatchWriter[list[str]], backend: Lists, *operations: Callable[[list[str]], Any]) -> list[Any]:
    """Everything at once: what is handed in while the first batch is held goes into the second."""
    backend.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(writer.apply(_add("first")))
        await asyncio.sleep(0.05)
        waiting = [asyncio.gather(writer.apply(operation), return_exceptions=True) for operation in operations]
        await asyncio.sleep(0)
        backend.gate.set()
    assert first.result() == "first"
    return [(await done)[0] for done in waiting]


async def test_what_waits_shares_a_commit_in_order() -> None:
    backend = Lists()
    writer = BatchWriter(backend, name="test", max_batch=3)
    assert await _all(writer, backend, *(_add(str(n)) for n in range(5))) == ["0", "1", "2", "3", "4"]
    await writer.close()
    assert backend.batches == [["first"], ["0", "1", "2"], ["3", "4"]]
    assert backend.closed
    assert len(backend.threads) == 1
    with pytest.raises(WriterClosed):
        await writer.apply(_add("late"))


async def test_one_that_raises_does_not_disturb_the_others() -> None:
    backend = Lists()
    writer = BatchWriter(backend, name="test")
    a, failed, b = await _all(writer, backend, _add("a"), _fail, _add("b"))
    await writer.close()
    assert (a, b, type(failed)) == ("a", "b", KeyError)
    assert backend.batches[1] == ["a", "b"]


async def test_a_batch_that_cannot_be_stored_is_tried_one_by_one() -> None:
    backend = Lists()
    backend.refuse = "bad"
    writer = BatchWriter(backend, name="test")
    a, bad, b = await _all(writer, backend, _add("a"), _add("bad"), _add("b"))
    await writer.close()
    assert (a, b, type(bad)) == ("a", "b", OSError)
    assert backend.batches == [["first"], ["a"], ["b"]]
    assert backend.rolled_back == [["a", "bad", "b"], ["bad"]]


async def test_announcements_come_before_results_and_in_order() -> None:
    backend = Lists()
    heard: list[str] = []

    def announce(tx: list[str]) -> Callable[[], None] | None:
        return (lambda: heard.extend(tx)) if tx != ["quiet"] else None

    writer = BatchWriter(backend, name="test", announce=announce)

    async def one(word: str) -> None:
        await writer.apply(_add(word))
        assert word in heard

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(str(number)))
    assert heard == [str(number) for number in range(100)]
    await writer.apply(_add("quiet"))
    backend.refuse = "refused"
    with pytest.raises(OSError, match="no"):
        await writer.apply(_add("refused"))
    await writer.close()
    assert heard == [str(number) for number in range(100)]


async def test_a_fault_in_an_announcement_is_logged_and_the_results_come(caplog: pytest.LogCaptureFixture) -> None:
    def announce(tx: list[str]) -> Callable[[], None]:
        def fault() -> None:
            raise ZeroDivisionError

        return fault

    writer = BatchWriter(Lists(), name="test", announce=announce)
    assert await writer.apply(_add("a")) == "a"
    await writer.close()
    assert "what follows a commit failed" in caplog.text


async def test_idleness_is_told_once_or_until_it_is_content() -> None:
    calls: list[float] = []
    wanted = 3

    def on_idle() -> bool:
        calls.append(asyncio.run_coroutine_threadsafe(_time(), loop).result())
        return len(calls) < wanted

    loop = asyncio.get_running_loop()
    writer = BatchWriter(Lists(), name="test", on_idle=on_idle, idle_after=0.03)
    await asyncio.sleep(0.3)
    assert len(calls) == 3
    await writer.apply(_add("a"))
    wanted = 4
    await asyncio.sleep(0.15)
    assert len(calls) == 4
    await writer.close()


async def _time() -> float:
    return asyncio.get_running_loop().time()


async def test_a_caller_that_goes_away_leaves_its_operation_done() -> None:
    backend = Lists()
    writer = BatchWriter(backend, name="test")
    backend.gate.clear()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(writer.apply(_add("a")))
        await asyncio.sleep(0.01)
        waiting.cancel()
    backend.gate.set()
    assert await writer.apply(_add("b")) == "b"
    await writer.close()
    assert [word for batch in backend.batches for word in batch] == ["a", "b"]
