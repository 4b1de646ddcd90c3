"""What the console shows and how, told once at its start. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Farewell(StrEnum):
    """How the console was left."""

    #: What runs goes on: the server stays, or a standby takes over.
    LEAVE_RUNNING = "leave_running"
    #: The embedded server stops too; agents finish what they do.
    STOP_SERVER = "stop_server"
    #: The terminal is gone.
    HANGUP = "hangup"


@dataclass(frozen=True, slots=True)
class Options:
    """How the console looks and what it may do."""

    #: The terminal can show more than ASCII.
    utf8: bool = True
    #: Beats a second.
    rate: float = 10.0
    #: Nothing can be changed.
    read_only: bool = False
    theme: str = "textual-dark"
    mouse: bool = True
    #: The terminal is at the other end of SSH.
    remote: bool = False
    #: Other keys, by the ids of `keys`.
    keymap: Mapping[str, str] = field(default_factory=dict)
    #: Where exports, copies and what was typed are kept.
    state_dir: Path = field(default_factory=lambda: Path.home() / ".local/state/gamenode")
