"""Names of nodes and users: what one may look like, and what is made of a host name."""

from __future__ import annotations

import re

from gamenode_pipelines.errors import Code, GameNodeError

MAX_NAME = 63
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_UNFIT = re.compile(r"[^a-z0-9._-]+")


def check_name(name: str, what: str = "node") -> str:
    """The name, if it is one. Raises GameNodeError(INVALID_ARGUMENT)."""
    if not _NAME.fullmatch(name):
        raise GameNodeError(
            Code.INVALID_ARGUMENT,
            f"{name[:80]!r} is no {what} name: up to {MAX_NAME} of a-z, 0-9, '.', '_' and '-', "
            "beginning and ending with a letter or digit",
        )
    return name


def name_from_host(hostname: str) -> str:
    """A node name from a host's own, whatever that looks like; empty where nothing fits."""
    return _UNFIT.sub("-", hostname.lower())[:MAX_NAME].strip("._-")


def numbered(name: str, number: int) -> str:
    """The `number`th name of hosts that are called the same: `name`, `name-2`, `name-3`."""
    if number < 2:
        return name
    suffix = f"-{number}"
    return name[: MAX_NAME - len(suffix)].rstrip("._-") + suffix
