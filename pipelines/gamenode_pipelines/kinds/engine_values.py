"""The forms of values that engines have of their own: names, images, restart policies, devices, ulimits, tmpfs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, TEXT, Leaf, absolute, is_template, matching
from gamenode_pipelines.kinds.shapes import ListOf, MappingOf
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.wording import UnknownWord, shown
from gamenode_pipelines.written import text_of

_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_ULIMITS: Final = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_PAIR: Final = re.compile(r"(-1|[0-9]{1,18})(?::(-1|[0-9]{1,18}))?")

NAME: Final = matching(
    r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}",
    "cannot be a container's name: 2 to 128 letters, digits, `_`, `.` and `-`, the first a letter or digit",
)
IMAGE: Final = matching(
    r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,511}", "is not an image; write it like registry.example.com/game:1.2"
)
HOSTNAME: Final = matching(
    r"(?!.{254})[a-zA-Z0-9]([a-zA-Z0-9-]{0,62})(\.[a-zA-Z0-9][a-zA-Z0-9-]{0,62})*", "cannot be a host's name"
)
RESTART: Final = matching(
    r"no|always|unless-stopped|on-failure(:[1-9][0-9]{0,5})?",
    "is none of no, on-failure, on-failure:N, always and unless-stopped",
    "`no` | `on-failure[:N]` | `always` | `unless-stopped`",
)
DEVICE: Final = matching(
    r"/[^:\0]+(:/[^:\0]+)?(:(?=[rwm])r?w?m?)?", "is not a device; write it like /dev/dri:/dev/dri:rw", "device"
)
GPUS: Final = matching(
    r"all|[1-9][0-9]?|(device=)?[A-Za-z0-9][A-Za-z0-9_-]*(,[A-Za-z0-9][A-Za-z0-9_-]*)*",
    "is neither `all`, nor a number, nor ids with commas between",
    tidy=lambda text: text.removeprefix("device="),
)
CAPABILITY: Final = matching(
    r"[A-Z][A-Z_]*",
    "is not a capability; write it like NET_ADMIN",
    "capability",
    tidy=lambda text: text.upper().removeprefix("CAP_"),
)
NETWORK: Final = matching(r"[a-zA-Z0-9][a-zA-Z0-9_.:-]*", "cannot be a network's name")
SYSCTLS: Final = MappingOf(TEXT)


def _env_name(name: str) -> None:
    if not _ENV_NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} cannot be the name of an environment variable")
    if name.startswith("GAMENODE_"):
        raise ValueError("variables that begin with GAMENODE_ are the agent's own; choose another name")


def _label(name: str) -> None:
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"{shown(name)} cannot be a label's name")
    if name.startswith("io.gamenode."):
        raise ValueError("labels that begin with io.gamenode. are the agent's own; choose another name")


ENV: Final = MappingOf(TEXT, _env_name)
LABELS: Final = MappingOf(TEXT, _label)


def _ulimit_name(name: str) -> None:
    if name not in _ULIMITS:
        raise UnknownWord(name, _ULIMITS)


def _ulimit(value: object) -> tuple[int, int]:
    match = _PAIR.fullmatch(text_of(value).strip())
    if match is None:
        raise ValueError(f"must be a number, or two like 1024:2048 (soft, hard; -1: none), not {shown(text_of(value))}")
    soft = int(match[1])
    hard = soft if match[2] is None else int(match[2])
    if hard != -1 and (soft > hard or soft == -1):
        raise ValueError(f"the soft limit in {shown(text_of(value))} is above the hard one")
    return soft, hard


ULIMITS: Final = MappingOf(
    Leaf("number or soft:hard", _ulimit, SCALAR_SCHEMA, write=lambda pair: f"{pair[0]}:{pair[1]}"), _ulimit_name
)


class Tmpfs:
    """Folders in memory: a mapping of path to options, or a list of `PATH[:OPTIONS]`."""

    word = "mapping or list"
    blank = False
    _mapping = MappingOf(TEXT, absolute)
    _list = ListOf(Leaf("path", text_of, SCALAR_SCHEMA))

    @property
    def empty(self) -> dict[str, str]:
        """None."""
        return {}

    def check(self, value: object) -> dict[str, Any]:
        """Options by path; raises ValueError."""
        if isinstance(value, list | tuple):
            return self._mapping.check(dict(self._entry(item) for item in self._list.check(value)))
        return self._mapping.check(value)

    def normal(self, value: object) -> Setting:
        """Options by path, or the list where it has expressions in it."""
        if isinstance(value, list | tuple) and any(map(is_template, value)):
            return self._list.normal(value)
        return self.check(value) if isinstance(value, list | tuple) else self._mapping.normal(value)

    @staticmethod
    def _entry(text: str) -> tuple[str, str]:
        path, _, options = text.partition(":")
        return path, options

    def schema(self) -> Mapping[str, Any]:
        """A mapping or a list in a file."""
        return {"anyOf": [self._mapping.schema(), self._list.schema()]}


TMPFS: Final = Tmpfs()
