"""Waiting for something that only a look can tell, with a deadline and a reason."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(look: Callable[[], Any], *, seconds: float = 20.0, every: float = 0.05, what: str = "") -> Any:
    """The first true answer of `look`, which may be a coroutine function; AssertionError after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        answer = look()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if loop.time() > deadline:
            raise AssertionError(f"waited {seconds} s for {what or look}")
        await asyncio.sleep(every)
