"""Worker threads that nobody waits for: a call that hangs in a stopped engine must not keep the agent from ending.

The loop's own executor has few threads, and its threads are waited for when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Workers:
    """At most `most` daemon threads, started as they are needed."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Runs `call` in a thread. Cancelling the future does not end the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._busy += 1
            more = self._busy > self._threads and self._threads < self._most
            self._threads += more
        if more:
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put((loop, future, call))
        return future

    def close(self) -> None:
        """Lets idle threads end; busy ones end after their call."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, call = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as caught:  # whatever it is, it is the caller's to see
                error = caught
            finally:
                with self._lock:
                    self._busy -= 1
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_settle, future, result, error)
            del job, future, call, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


async def given_up(future: asyncio.Future[Any], lost: asyncio.Future[None]) -> bool:
    """Waits for either; whether only `lost` came. Then, and when cancelled, nobody waits for `future` any more."""
    try:
        await asyncio.wait([future, lost], return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not future.done():
            future.cancel()
    return future.cancelled()


async def carried_through(future: asyncio.Future[Any], lost: asyncio.Future[None]) -> bool:
    """The same, but cancelled it first lets one of them come, and then raises CancelledError, whatever it was."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done() and not lost.done():
        try:
            await asyncio.wait([future, lost], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
    alone = not future.done()
    if alone:
        future.cancel()
    if cancelled is not None:
        if not alone:
            future.exception()  # seen: the cancel matters more
        raise cancelled
    return alone
