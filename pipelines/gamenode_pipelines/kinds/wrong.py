"""What is wrong with a tree of values: every problem at once, each with its path. Knows nothing of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is wrong. `on_key`: it is the key at the path that is wrong; `missing`: it is not there."""

    path: Path
    message: str
    suggestion: str = ""
    on_key: bool = False
    missing: bool = False

    @property
    def whole(self) -> bool:
        """Whether the message is a sentence of its own, not one about the value at the path."""
        return self.on_key or self.missing

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{self.message}{hint}"


class Wrong(ValueError):
    """Values that cannot be used, and everything that is wrong with them."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__("; ".join(f"{spelled(item.path)}: {item}" for item in items))
        self.items = tuple(items)


class Findings:
    """Collects what is wrong with the parts of a value."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, *items: Item) -> None:
        """Takes down problems whose paths begin here."""
        self._items += items

    @contextmanager
    def at(self, step: str | int, *, on_key: bool = False) -> Iterator[None]:
        """Takes down what is wrong with one part, and goes on with the next."""
        try:
            yield
        except Wrong as wrong:
            self._items += [replace(item, path=(step, *item.path)) for item in wrong.items]
        except ValueError as error:
            self._items.append(Item((step,), str(error), getattr(error, "suggestion", ""), on_key=on_key))

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
