"""What screens may ask of the core: calls of the control API, and feeds that go on beside them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

T = TypeVar("T")


class Feed(Protocol):
    """Something that goes on in the core."""

    def cancel(self) -> object:
        """Ends it, soon."""
        ...


class Core(Protocol):
    """The core as the screens see it, from their own loop."""

    async def ask(self, work: Callable[[Gateway], Awaitable[T]]) -> T:
        """The answer of some calls. Cancelling the await cancels them.

        Raises GameNodeError: DISCONNECTED, with what to do, while there is no connection.
        """
        ...

    def spawn(self, feed: Callable[[Gateway], Coroutine[Any, Any, None]]) -> Feed:
        """Begins something that goes on until it ends by itself or is cancelled."""
        ...
