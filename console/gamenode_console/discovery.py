"""Which server the client talks to, and where its control socket is. Reads files, opens no connection.

In order: flags, environment (`GAMENODE_DATA_DIR`, `GAMENODE_CONTEXT`), the current context, the system server, the
user's own data dir.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamenode_console import contexts
from gamenode_console.settings import ClientSettings
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import places


@dataclass(frozen=True, slots=True)
class Place:
    """A data dir, and why it was chosen."""

    data_dir: Path
    origin: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server that should be there: its control socket and, where `server.json` says so, its pid."""

    place: Place
    control_socket: Path
    pid: int | None = None
    version: str = ""


def choose_place(settings: ClientSettings, env: Mapping[str, str], *, flags: Mapping[str, Any]) -> Place:
    """The data dir to use. `flags` are those given on the command line, which beat the environment.

    Raises GameNodeError where a context is named that does not exist, or both a data dir and a context are.
    """
    if flags.get("data_dir") and flags.get("context"):
        raise GameNodeError(Code.INVALID_ARGUMENT, "--data-dir and --context both name a server; give one of them")
    if settings.data_dir is not None and not flags.get("context"):
        return Place(settings.data_dir, "--data-dir" if flags.get("data_dir") else "GAMENODE_DATA_DIR or config file")
    known = contexts.load(contexts.file_of(env))
    if name := settings.context or known.current:
        return Place(known.data_dir(name), f"context {name}")
    if places.SYSTEM_SOCKET.exists():
        return Place(places.SYSTEM_DATA_DIR, "the system server")
    return Place(places.default_data_dir(env), "the default data dir")


def server_file(data_dir: Path) -> dict[str, Any] | None:
    """What `server.json` says; None where it is not there, not readable or half written."""
    try:
        document = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def find_target(place: Place) -> Target:
    """The server on a data dir. Raises GameNodeError(DISCONNECTED) that says how to start one."""
    document = server_file(place.data_dir)
    if document is not None and document.get("control_socket"):
        pid = document.get("pid")
        return Target(
            place,
            Path(document["control_socket"]),
            pid if isinstance(pid, int) else None,
            str(document.get("version", "")),
        )
    socket = places.control_socket_path(place.data_dir)
    if socket.exists():
        return Target(place, socket)
    if not place.data_dir.exists():
        raise unreachable(place, f"{place.data_dir} does not exist")
    raise unreachable(place, f"no server has run on {place.data_dir}")


def unreachable(place: Place, why: str) -> GameNodeError:
    """The error for a server that is not there: what, why, and what to do next."""
    option = "" if place.origin == "the default data dir" else f" --data-dir {place.data_dir}"
    return GameNodeError(
        Code.DISCONNECTED,
        f"no server to talk to: {why} (from {place.origin}).\n"
        f"Start one with `gamenode{option} up` or `gamenode-server{option} --detach`, "
        "or name another with --data-dir or --context.",
    )


def explain_lost(target: Target, error: GameNodeError) -> GameNodeError:
    """A failed connection to a target as something to act on."""
    if error.code is not Code.DISCONNECTED:
        return error
    if target.pid is not None and not process_exists(target.pid):
        return unreachable(target.place, f"the server (pid {target.pid}) is no longer running")
    return unreachable(target.place, error.message)


def process_exists(pid: int) -> bool:
    """Whether a process has this pid, ours or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
