"""Blocking work in a thread, beside the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def beside(work: Callable[..., T], *args: Any) -> T:
    """In a thread, which cannot be cancelled: it is waited for, so that its files stay open until it is done."""
    task = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Writes all of it at an offset."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
