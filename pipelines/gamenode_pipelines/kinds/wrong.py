"""What is wrong with a tree of values: every problem at once, each with its path. Knows nothing of files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from gamenode_pipelines.wording import listed, nearest

#: Problems that are taken down of one value: more tell nobody anything.
MAX_ITEMS: Final = 30
#: Problems that are told in one sentence.
_SAID: Final = 10
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is wrong. `on_key`: it is the key at the path that is wrong; `missing`: it is not there.

    `known` are the names that the last of the path could have been, where it is none; `meant` is the one that others
    call so.
    """

    path: Path
    text: str
    on_key: bool = False
    missing: bool = False
    cause: ValueError | None = None
    known: Collection[str] = ()
    meant: str = ""

    @property
    def suggestion(self) -> str:
        """What was probably meant, or nothing."""
        if self.known:
            return self.meant or nearest(str(self.path[-1]), self.known)
        return str(getattr(self.cause, "suggestion", ""))

    @property
    def message(self) -> str:
        """What is wrong, in words."""
        return f"{self.text}; there are {listed(self.known, 40)}" if self.known and not self.suggestion else self.text

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{self.message}{hint}"


class Wrong(ValueError):
    """Values that cannot be used, and everything that is wrong with them."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__("values are wrong")
        self.items = tuple(items)

    def __str__(self) -> str:
        """Told often and to nobody: without the names that may have been meant, which take their time."""
        return "; ".join(f"{spelled(item.path)}: {item.text}" for item in self.items[:_SAID])

    def said(self, root: str) -> str:
        """The first of them in one sentence, each with its path, which begins with `root`."""
        parts = [f"{spelled(item.path, root)}: {item}" for item in self.items[:_SAID]]
        more = len(self.items) - _SAID
        return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


class Findings:
    """Collects what is wrong with the parts of a value."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, *items: Item) -> None:
        """Takes down problems whose paths begin here."""
        if len(self._items) < MAX_ITEMS:
            self._items += items

    @contextmanager
    def at(self, step: str | int) -> Iterator[None]:
        """Takes down what is wrong with one part, and goes on with the next."""
        try:
            yield
        except ValueError as error:
            self.take(step, error)

    def take(self, step: str | int, error: ValueError, *, on_key: bool = False) -> None:
        """Takes down what is wrong with one part, or with its key."""
        if len(self._items) >= MAX_ITEMS:
            return
        if isinstance(error, Wrong):
            self._items += [replace(item, path=(step, *item.path)) for item in error.items]
        else:
            self._items.append(Item((step,), str(error), on_key=on_key, cause=error))

    def end(self) -> None:
        """Raises Wrong where anything was taken down."""
        if self._items:
            raise Wrong(self._items)


def spelled(path: Path, root: str = "") -> str:
    """A path as people write it: `ports[0]`, `resources.memory`, `labels["a.b"]`."""
    text = root
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f'["{step[:64]}"]'
    return text
