"""What a game server says of itself, the same for every game."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One answer. None is unknown, which is not zero."""

    #: Everybody connected: spectators and bots too.
    players: int | None
    #: How many of them are bots.
    bots: int | None
    max_players: int | None
    map: str
    name: str
    #: Whatever else it said, by the protocol's own names.
    raw: Mapping[str, str] = field(default_factory=dict)
