"""Which server the client talks to, and where: a control socket here, or an address elsewhere. Opens no connection.

In order: flags, environment (`GAMENODE_CONNECT`, `GAMENODE_DATA_DIR`, `GAMENODE_CONTEXT`), the current context, the
system server, the user's own data dir.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gamenode_console import contexts
from gamenode_console.settings import ClientSettings
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import places

#: Flags that say which server is meant.
_NAMES_A_SERVER = ("connect", "data_dir", "context")


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


@dataclass(frozen=True, slots=True)
class NetworkTarget:
    """A server on another host: the address of its operators' port, the credentials for it, and why it was chosen."""

    address: str
    credentials: Path
    origin: str


AnyTarget = Target | NetworkTarget


def choose(
    settings: ClientSettings, env: Mapping[str, str], *, flags: Mapping[str, Any] = MappingProxyType({})
) -> Place | NetworkTarget:
    """The server to use. `flags` are those given on the command line, which beat the environment.

    Raises GameNodeError where a context is named that does not exist, or more than one server is.
    """
    named = [name for name in _NAMES_A_SERVER if flags.get(name)]
    if len(named) > 1:
        both = " and ".join(f"--{name.replace('_', '-')}" for name in named)
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{both} both name a server; give one of them")
    if flags.get("credentials") and named != ["connect"]:
        raise GameNodeError(Code.INVALID_ARGUMENT, "--credentials goes with --connect HOST:PORT")
    told = named[0] if named else ""
    if settings.connect and told in ("", "connect"):
        return _network(settings, "--connect" if told else "GAMENODE_CONNECT or config file")
    if settings.data_dir is not None and told != "context":
        return Place(settings.data_dir, "--data-dir" if told else "GAMENODE_DATA_DIR or config file")
    known = contexts.load(contexts.file_of(env))
    if name := settings.context or known.current:
        context = known.get(name)
        if context.connect:
            return NetworkTarget(context.connect, Path(context.credentials), f"context {name}")
        return Place(Path(context.data_dir), f"context {name}")
    if places.SYSTEM_SOCKET.exists():
        return Place(places.SYSTEM_DATA_DIR, "the system server")
    return Place(places.default_data_dir(env), "the default data dir")


def choose_place(settings: ClientSettings, env: Mapping[str, str], *, flags: Mapping[str, Any]) -> Place:
    """The data dir to use, for what can be done on this machine only. Raises GameNodeError as `choose` does."""
    chosen = choose(settings, env, flags=flags)
    if isinstance(chosen, Place):
        return chosen
    raise GameNodeError(
        Code.INVALID_ARGUMENT,
        f"this is for a server on this machine, and {chosen.origin} names {chosen.address}: give --data-dir DIR",
    )


def find(
    settings: ClientSettings, env: Mapping[str, str], *, flags: Mapping[str, Any] = MappingProxyType({})
) -> AnyTarget:
    """The server to talk to. Raises GameNodeError as `choose` and `find_target` do."""
    chosen = choose(settings, env, flags=flags)
    return find_target(chosen) if isinstance(chosen, Place) else chosen


def _network(settings: ClientSettings, origin: str) -> NetworkTarget:
    if settings.credentials is None:
        raise GameNodeError(
            Code.INVALID_ARGUMENT,
            f"{settings.connect} wants to know who you are: give --credentials FILE. "
            "An admin of that server makes the file with `gamenode user create NAME --role ROLE --out FILE`",
        )
    return NetworkTarget(settings.connect, settings.credentials, origin)


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
        "or name another with --data-dir, --context or --connect.",
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
