"""Which containers are not to be started again though their policy would, and how often each was: one small file.

That a container shall run is in its own labels; only what speaks against it is kept here, so that a lost file starts
too much rather than too little. Knows no engine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Wishes:
    """What is wished of containers, by id. On one loop; what was written is durable when a call returns."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file, if there is one; without a path nothing outlives the process."""
        self._path = path
        self._ended: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._leftover: set[str] = set()
        self._in_hand: dict[str, int] = {}
        self._writing = asyncio.Lock()
        #: Hears of a container that was let go again.
        self.on_let_go: Callable[[str], None] = lambda _id: None
        #: The file is behind: to be saved again when there is room.
        self.unsaved = False
        if path is not None:
            self._read(path)

    def is_over(self, container: str) -> bool:
        """Whether it is not to be started again."""
        return container in self._ended

    def restarts(self, container: str) -> int:
        """How often the agent has started it again."""
        return self._restarts.get(container, 0)

    def in_hand(self, container: str) -> bool:
        """Whether somebody in this agent is ending or starting it right now."""
        return container in self._in_hand

    @contextmanager
    def taking(self, container: str) -> Iterator[None]:
        """While it lasts, what happens to the container is the caller's doing and nobody else's to put right."""
        self._in_hand[container] = self._in_hand.get(container, 0) + 1
        try:
            yield
        finally:
            self._in_hand[container] -= 1
            if not self._in_hand[container]:
                del self._in_hand[container]
            self.on_let_go(container)

    async def end(self, container: str, why: str) -> None:
        """It is not to be started again."""
        if self._ended.get(container) != why:
            self._ended[container] = why
            await self.save()

    async def begin(self, container: str) -> None:
        """It is to run again, as its labels say."""
        if self._ended.pop(container, None) is not None:
            await self.save()

    async def count(self, container: str) -> int:
        """One more restart; how many it were by now."""
        number = self._restarts[container] = self.restarts(container) + 1
        await self.save()
        return number

    async def leave(self, container: str) -> None:
        """Nobody needs it any more, and it could not be removed: to be removed when that is possible."""
        self._leftover.add(container)
        await self.save()

    @property
    def leftover(self) -> frozenset[str]:
        """Those that wait to be removed."""
        return frozenset(self._leftover)

    async def forget_all_but(self, containers: Collection[str]) -> None:
        """Drops what is kept of containers that are gone."""
        gone = (self._ended.keys() | self._restarts.keys() | self._leftover).difference(containers)
        for container in gone:
            self._leftover.discard(container)
            self._ended.pop(container, None)
            self._restarts.pop(container, None)
        if gone:
            await self.save()

    async def save(self) -> None:
        """Writes the file. On a full disk all holds as long as this agent lives, and `unsaved` says so."""
        if self._path is None:
            return
        async with self._writing:  # one after the other, each with all there is by then
            text = json.dumps({"ended": self._ended, "restarts": self._restarts, "leftover": sorted(self._leftover)})
            try:
                await asyncio.to_thread(_replace, self._path, text)
            except OSError as error:
                if not self.unsaved:
                    logger.error("what is wished of containers cannot be stored, trying again: %s", error)
                self.unsaved = True
            else:
                self.unsaved = False

    def _read(self, path: Path) -> None:
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            self._ended = {str(key): str(why) for key, why in found["ended"].items()}
            self._restarts = {str(key): int(number) for key, number in found["restarts"].items()}
            self._leftover = {str(each) for each in found["leftover"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("what is wished of containers cannot be read; all that may run is started: %s", error)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
