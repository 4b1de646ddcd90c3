"""Which artifact is meant by a name or a digest: queries, and the refusals where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.store import artifacts
from gamenode_server.store.artifacts import DIGEST, MIN_DIGEST, Artifact

_DIGEST = re.compile(rf"(sha256:)?([0-9a-f]{{{MIN_DIGEST},{DIGEST}}})")


def meant(connection: sa.Connection, said: str) -> Sequence[Artifact]:
    """Every artifact that is meant, newest first: all of a name, or all of one content. Raises GameNodeError.

    A digest's beginning is enough where it is the beginning of one content only.
    """
    found = artifacts.named(connection, said)
    if not found and (match := _DIGEST.fullmatch(said.lower())):
        found = artifacts.with_digest(connection, match[2])
        if len({each.digest for each in found}) > 1:
            candidates = sorted({f"{each.digest[:16]}… ({each.name})" for each in found})
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{said} is the beginning of several digests: {', '.join(candidates[:5])}"
            )
    if not found:
        raise GameNodeError(Code.NOT_FOUND, f"there is no artifact {said[:130]!r}; `gamenode artifact ls` lists them")
    return found


def reachable(
    connection: sa.Connection, said: str, *, node_id: str, name_of: dict[str, str], digest: str = ""
) -> Artifact:
    """The newest one that is kept on the server, or on this node; of this content, where one is given.

    Raises GameNodeError naming where it is else.
    """
    found = [each for each in meant(connection, said) if digest in ("", each.digest)]
    if not found:
        raise GameNodeError(Code.NOT_FOUND, f"artifact {said[:130]!r} has no content {digest[:12]}… any more")
    here = next((each for each in found if each.node_id in ("", node_id)), None)
    if here is None:
        where = ", ".join(sorted({name_of.get(each.node_id, each.node_id) for each in found}))
        raise GameNodeError(
            Code.NOT_FOUND,
            f"artifact {said[:130]!r} is kept on {where}, and can be used there only;"
            " have its step store it with `to: server`",
        )
    return here


def newest(found: Sequence[Artifact]) -> list[Artifact]:
    """Of these, newest first, the newest of each name."""
    seen: dict[str, Artifact] = {}
    for each in found:
        seen.setdefault(each.name, each)
    return list(seen.values())
