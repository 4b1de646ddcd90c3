"""The core thread: a loop of its own, and on it every connection of the console.

The screens hand over coroutines and await their answers; neither loop ever waits for the other in a thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from gamenode_console.core.asking import Feed
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: What goes on in the core as long as it lives: gets the thread, and says when there is a connection.
Life = Callable[["CoreThread"], Coroutine[Any, Any, None]]


class CoreThread:
    """Runs `life` on a loop in a thread of its own, from `start` to `stop`. A `Core` for the screens."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._ending = False
        self._gateway: Gateway | None = None
        self._is_connected = asyncio.Event()
        self._problem = "the console is still looking for its server"
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)
        #: Why it ended by itself, if it did.
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begins; returns at once."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def stop(self, grace: float) -> bool:
        """Ends what goes on and waits up to `grace` seconds; whether it has ended. From another thread."""
        if self._loop is None:
            return True
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(grace)
        return not self._thread.is_alive()

    # -- from the screens' loop ---------------------------------------------------------------------------------------

    async def ask(self, work: Callable[[Gateway], Awaitable[T]]) -> T:
        """The answer of some calls; see `Core`."""

        async def answer() -> T:
            if self._gateway is None:
                raise GameNodeError(Code.DISCONNECTED, self._problem)
            return await _whole(work(self._gateway))

        future = self._submit(answer())
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if _is_told_to_end():
                raise
            raise GameNodeError(Code.DISCONNECTED, "the console ends") from None

    def spawn(self, feed: Callable[[Gateway], Coroutine[Any, Any, None]]) -> Feed:
        """Begins a feed, at the latest when there is a connection; see `Core`."""

        async def go_on() -> None:
            await self._is_connected.wait()
            assert self._gateway is not None
            await _whole(feed(self._gateway))

        future = self._submit(go_on())
        future.add_done_callback(_tell_of_failure)
        return future

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if self._loop is not None:
            try:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
            except RuntimeError:  # it has ended
                self._problem = "the console ends"
        work.close()
        raise GameNodeError(Code.DISCONNECTED, self._problem)

    # -- from its own loop --------------------------------------------------------------------------------------------

    def connected(self, gateway: Gateway | None, problem: str = "") -> None:
        """What calls go to from now on; None: nowhere, because of `problem`."""
        self._gateway = gateway
        self._problem = problem
        if gateway is None:
            self._is_connected.clear()
        else:
            self._is_connected.set()

    def _end(self) -> None:
        self._ending = True
        if self._main is not None:
            self._main.cancel()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._live())
        except BaseException as error:
            self.failure = error
            logger.exception("the core has ended")

    async def _live(self) -> None:
        self._main = asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):  # that is how it is told to end
            if not self._ending:
                await self._life(self)


async def _whole(work: Awaitable[T]) -> T:
    """What `work` answers; calls whose connection is closed under them are no cancelling of who waits for them."""
    try:
        return await work
    except asyncio.CancelledError:
        if _is_told_to_end():
            raise
        raise GameNodeError(Code.DISCONNECTED, "the connection was closed before the answer came") from None


def _is_told_to_end() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell_of_failure(feed: concurrent.futures.Future[None]) -> None:
    if not feed.cancelled() and (error := feed.exception()) is not None:
        logger.error("a feed has ended: %s", error, exc_info=None if isinstance(error, GameNodeError) else error)


def first_of(error: BaseException) -> BaseException:
    """The first error within a group of groups, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
