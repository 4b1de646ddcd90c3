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
    """Runs `life` on a loop in a thread of its own, from `start` to `stop`."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._gateway: Gateway | None = None
        self._group: asyncio.TaskGroup | None = None
        self._problem = "the console is still looking for its server"
        self._thread = threading.Thread(target=self._run, name="core", daemon=True)
        #: Why it ended by itself, if it did.
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def stop(self, grace: float) -> bool:
        """Ends what goes on and waits up to `grace` seconds; whether it has ended. From another thread."""
        if self._thread.ident is None:
            return True
        self._ready.wait(grace)
        loop, main = self._loop, self._main
        if loop is not None and main is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(main.cancel)
        self._thread.join(grace)
        return not self._thread.is_alive()

    # -- from the screens' loop ---------------------------------------------------------------------------------------

    async def ask(self, work: Callable[[Gateway], Awaitable[T]]) -> T:
        """See the seam."""

        async def answer() -> T:
            return await work(self._connected())

        return await asyncio.wrap_future(self._submit(answer()))

    def spawn(self, feed: Callable[[Gateway], Coroutine[Any, Any, None]]) -> Feed:
        """See the seam."""

        async def go_on() -> None:
            await feed(self._connected())

        return self._submit(go_on())

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if self._loop is None or not self._thread.is_alive():
            work.close()
            raise GameNodeError(Code.DISCONNECTED, self._problem)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # -- from its own loop --------------------------------------------------------------------------------------------

    def connected(self, gateway: Gateway | None, problem: str = "") -> None:
        """What calls go to from now on; None: nowhere, because of `problem`."""
        self._gateway = gateway
        self._problem = problem

    def _connected(self) -> Gateway:
        if self._gateway is None:
            raise GameNodeError(Code.DISCONNECTED, self._problem)
        return self._gateway

    def _run(self) -> None:
        try:
            asyncio.run(self._main_task())
        except BaseException as error:
            self.failure = error
            logger.exception("the core has ended")
        finally:
            self._ready.set()

    async def _main_task(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._ready.set()
        with contextlib.suppress(asyncio.CancelledError):  # that is how it is told to end
            await self._life(self)
