"""A stream that a thread reads and the loop consumes, held back when the loop is slow."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: What a feed holds at most, by its items' size.
MOST = 1 << 20


class Source(Protocol[T_co]):
    """What is read in a thread of its own."""

    def batches(self) -> Iterator[Sequence[T_co]]:
        """Everything, as it comes. Called in the thread."""
        ...

    def stop(self) -> None:
        """Makes `batches` end soon, from any thread, before it began too."""
        ...


class Feed(Generic[T]):
    """`async with Feed(source, size) as feed: while batch := await feed.get()`: an empty batch is the end.

    `size` says what an item counts against MOST. Raises what the source raised.
    """

    def __init__(self, source: Source[T], size: Callable[[T], int], *, name: str) -> None:
        self._source = source
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = threading.Condition()
        self._items: list[T] = []
        self._held = 0
        self._ended = self._closed = self._waiting = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)

    async def __aenter__(self) -> Feed[T]:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, soon; may be called again, and from any thread."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        self._source.stop()

    async def get(self) -> list[T]:
        """What has come since the last time, at least one item; nothing at the end."""
        await asyncio.sleep(0)  # a source that always has more must not keep the loop for itself
        while True:
            with self._room:
                items, self._items, self._held = self._items, [], 0
                if items:
                    self._room.notify_all()
                    return items
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return []
                self._wake.clear()
                self._waiting = True
            await self._wake.wait()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for batch in self._source.batches():
                size = sum(map(self._size, batch))
                with self._room:
                    while self._held and self._held + size > MOST and not self._closed:
                        self._room.wait()
                    if self._closed:
                        return
                    self._items.extend(batch)
                    self._held += size
                    self._tell()
        except BaseException as caught:  # the reader's to see
            error = caught
        finally:
            with self._room:
                self._ended, self._error = True, error
                self._tell()

    def _tell(self) -> None:
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake.set)
