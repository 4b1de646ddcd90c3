"""Docker's short syntax of mounts: `SOURCE:TARGET[:ro]`, the source a folder of the node or a volume's name."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, Leaf, absolute
from gamenode_pipelines.kinds.shapes import ListOf
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
_MODES: Final = {"ro": True, "rw": False}


class Volume(NamedTuple):
    """A mount. `source` is a folder of the node where it begins with `/`, else a volume's name."""

    source: str
    target: str
    read_only: bool = False

    @property
    def named(self) -> bool:
        """Whether it is a volume of the engine's, not a folder of the node."""
        return not self.source.startswith("/")

    def __str__(self) -> str:
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


def parse(text: str) -> Volume:
    """One mount. Raises ValueError with what is wrong with it."""
    source, *rest = text.split(":")
    if not rest or len(rest) > 2:
        what = "has no source" if not rest else "has too many parts"
        raise ValueError(f"{shown(text)} {what}; write it like /srv/maps:/maps:ro or maps:/maps")
    target, mode = rest[0], rest[1] if len(rest) > 1 else "rw"
    if mode not in _MODES:
        raise ValueError(f"{shown(mode)} in {shown(text)} is none of ro and rw")
    if source.startswith("/"):
        absolute(source)
    elif not _NAME.fullmatch(source):
        raise ValueError(
            f"{shown(source)} in {shown(text)} is neither a path from / nor the name of a volume "
            "(letters, digits, `_`, `.` and `-`)"
        )
    absolute(target)
    if not target.strip("/"):
        raise ValueError(f"{shown(text)} would cover the whole container; mount it in a folder")
    return Volume(source, target, _MODES[mode])


VOLUMES: Final = ListOf(Leaf("mount", lambda value: parse(text_of(value)), SCALAR_SCHEMA, write=str))
