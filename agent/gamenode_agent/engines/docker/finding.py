"""Where a Docker engine may be, and what is wrong where none answers. Called in a thread; changes nothing."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamenode_agent.engines.containers import EngineInfo
from gamenode_agent.engines.docker.errors import translated
from gamenode_agent.engines.docker.reading import engine_info, seconds

#: Seconds that a first look may take, and any call that is no stream.
LOOK_TIMEOUT = 5
CALL_TIMEOUT = 60
#: Connections kept for calls; streams have their own.
POOL_SIZE = 64
SYSTEM_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Found:
    """An engine that answered. `asked_at` in Unix seconds of its own clock; `doubted`: it is to be asked again now."""

    address: str
    api: Any
    info: EngineInfo
    asked_at: float
    doubted: asyncio.Event = field(default_factory=asyncio.Event)


def candidates(address: str, environ: Mapping[str, str]) -> list[str]:
    """Where to look, in order: as told, DOCKER_HOST, the system's socket, the user's."""
    if told := address or environ.get("DOCKER_HOST", ""):
        return [f"unix://{told}" if told.startswith("/") else told]
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return [f"unix://{path}" for path in (SYSTEM_SOCKET, f"{runtime}/docker.sock") if os.path.exists(path)]


def find(address: str, environ: Mapping[str, str] = os.environ) -> Found | str:
    """The first engine that answers, or what is wrong and what to do."""
    places = candidates(address, environ)
    if not places:
        return (
            f"there is no container engine: no {SYSTEM_SOCKET}, and DOCKER_HOST is not set; install and start Docker, "
            "or name its address with --docker-host"
        )
    problems = []
    for place in places:
        answer = _look(place)
        if isinstance(answer, Found):
            return answer
        problems.append(answer)
    return "; ".join(problems)


def _look(address: str) -> Found | str:
    if problem := knock(address):
        return problem
    import docker
    from docker.utils import kwargs_from_env

    from gamenode_agent.engines.docker.doors import use_unix_doors

    tls: Any = False
    if address.startswith("tcp://") and os.environ.get("DOCKER_TLS_VERIFY"):
        tls = kwargs_from_env().get("tls", False)
    api: Any = None
    try:
        api = docker.APIClient(address, version="auto", timeout=LOOK_TIMEOUT, tls=tls, max_pool_size=POOL_SIZE)
        if address.startswith("unix://"):
            # No proxy, no netrc: looking for them at every call takes longer than the call.
            api.trust_env = False
            use_unix_doors(api, address.removeprefix("unix://"), LOOK_TIMEOUT, POOL_SIZE)
        said = api.info()
        info = engine_info(said, api.version(), api.networks())
    except Exception as error:
        if api is not None:
            api.close()
        known = translated(error, doing="answer")
        if known is None:
            raise
        return f"the engine at {address} does not answer: {known.message}"
    api.timeout = CALL_TIMEOUT
    return Found(address, api, info, seconds(str(said.get("SystemTime") or "")))


def speaks(address: str) -> bool:
    """Whether somebody answers a first question behind a door.

    Where systemd keeps the door, it opens whatever Docker does.
    """
    kind, _, place = address.partition("://")
    if kind != "unix":
        return knock(address) == ""  # what is said behind it may be in TLS
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(LOOK_TIMEOUT)
        try:
            door.connect(place)
            door.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return bool(door.recv(1))
        except OSError:
            return False


def knock(address: str) -> str:
    """What is wrong with a door; empty if somebody opens."""
    kind, _, place = address.partition("://")
    if kind != "unix":
        host, _, port = place.partition("/")[0].rpartition(":")
        try:
            socket.create_connection((host, int(port)), LOOK_TIMEOUT).close()
        except (OSError, ValueError) as error:
            return f"the engine at {address} cannot be reached: {error}"
        return ""
    path = Path(place)
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(LOOK_TIMEOUT)
        try:
            door.connect(str(path))
        except FileNotFoundError:
            return f"there is no {path}: Docker is not installed, or not started (`systemctl start docker`)"
        except PermissionError:
            user = getpass.getuser()
            return (
                f"user {user} may not use {path}: add the user to the group docker (`usermod -aG docker {user}`) and "
                "start the agent anew"
            )
        except ConnectionRefusedError:
            return f"nobody answers at {path}: start Docker (`systemctl start docker`)"
        except TimeoutError:
            return f"the engine behind {path} does not answer"
        except OSError as error:
            return f"{path} cannot be used: {error.strerror or error}"
    return ""
