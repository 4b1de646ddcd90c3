"""`gamenode doctor`: gathers facts about this machine and the server, and prints what `checks` makes of them."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamenode_console import checks, columns, credentials, discovery
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_console.documents import Document, nodes, server
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

_LOGIND = ("/etc/systemd/logind.conf", "/etc/systemd/logind.conf.d", "/run/systemd/logind.conf.d")


@click.command(
    "doctor", cls=Command, examples=["gamenode doctor", "gamenode doctor -o json | jq '.[] | select(.result!=\"ok\")'"]
)
@pass_client
def doctor(client: Client) -> int:
    """Check this machine and the server: each line ok, warn or fail, with what to do. Exits with 1 when one fails."""
    found = [
        checks.python((sys.version_info.major, sys.version_info.minor, sys.version_info.micro)),
        checks.sqlite(_version(sqlite3.sqlite_version)),
        checks.open_files(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        checks.locale(getattr(sys.stdout, "encoding", None) or ""),
    ]
    if platform.system() == "Linux":
        found.append(checks.kill_user_processes(_logind()))
    found += _where(client)
    found += _server(client)
    client.output.many([check.document for check in found], columns.CHECKS)
    return ExitCode.FAILED if any(check.result == "fail" for check in found) else ExitCode.OK


def _version(text: str) -> tuple[int, int, int]:
    major, minor, patch = (int(part) for part in text.split(".")[:3])
    return major, minor, patch


def _logind() -> list[str]:
    """logind's configuration files in the order in which they count."""
    files: list[Path] = []
    for name in _LOGIND:
        path = Path(name)
        files += sorted(path.glob("*.conf")) if path.is_dir() else [path]
    return [file.read_text(errors="replace") for file in files if file.is_file() and os.access(file, os.R_OK)]


def _where(client: Client) -> list[checks.Check]:
    """Where the server is said to be: a data dir here, or elsewhere with credentials."""
    try:
        chosen = discovery.choose(client.settings, client.env, flags=client.flags)
    except GameNodeError as error:
        return [checks.Check("data dir", "fail", error.message)]
    if isinstance(chosen, discovery.Place):
        return _data_dir(chosen.data_dir)
    now = wall_clock()
    try:
        return [checks.credentials(str(chosen.credentials), credentials.read(chosen.credentials, now=now), now)]
    except GameNodeError as error:
        return [checks.Check("credentials", "fail", error.message)]


def _data_dir(path: Path) -> list[checks.Check]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return [checks.data_dir(str(path), None, owner=0, uid=os.getuid(), writable=False), _disk(path)]
    except OSError as error:
        return [checks.Check("data dir", "fail", f"{path}: {error.strerror}", "run as the user that owns it")]
    judged = checks.data_dir(
        str(path), found.st_mode, owner=found.st_uid, uid=os.getuid(), writable=os.access(path, os.W_OK | os.X_OK)
    )
    return [judged, _disk(path)]


def _disk(path: Path) -> checks.Check:
    """Free space where the data dir is, or would be."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return checks.disk(str(path), usage.free, usage.total)


def _server(client: Client) -> list[checks.Check]:
    async def work(gateway: Gateway) -> tuple[Document, list[Document]]:
        status = server.status(await gateway.state.status())
        return status, [nodes.node(node) for node in await gateway.state.list_nodes()]

    now = wall_clock()
    try:
        status, found = client.run(work)
    except GameNodeError as error:
        what, _, hint = error.message.partition("\n")
        return [checks.Check("server", "fail", what, hint), checks.clock(now, [])]
    return [
        checks.server(status, client_version=version("gamenode")),
        checks.clock(now, found),
        checks.certificates(now, found),
        *checks.engines(found),
    ]
