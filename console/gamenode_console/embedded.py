"""The server inside of the console, where none runs yet on the data dir. The only file here that imports the server.

The console stays a client of the control API: who embeds a server talks to it as everybody does. Whatever ends this
process, a standby goes on serving, unless the server was stopped for good.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gamenode_console import discovery, machine
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import places
from gamenode_proto.process.addresses import split_address
from gamenode_proto.process.locks import holder_of
from gamenode_proto.process.settings import load

UNIT = "gamenode-server.service"
UNIT_DIRS = tuple(map(Path, ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")))
#: Places that nobody named.
_UNNAMED = ("the default data dir", "the system server")
#: Seconds between two looks at a server that is about to start or to end.
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Embedded:
    """The server in this process."""

    #: Says that no standby is to serve after it. From any thread; does not end it.
    stop_for_good: Callable[[], None]


def refuse_in_silence(place: discovery.Place, *, unit_dirs: Iterable[Path] = UNIT_DIRS) -> None:
    """Raises GameNodeError where an empty server would take the place of a system server that does not run."""
    if place.origin not in _UNNAMED or is_held(place.data_dir):
        return
    unit = next((each / UNIT for each in unit_dirs if (each / UNIT).exists()), None)
    if unit is None and not places.SYSTEM_SOCKET.exists():
        return
    if place.data_dir != places.SYSTEM_DATA_DIR and (place.data_dir / "server" / "identity").exists():
        return
    start = f"`systemctl start {UNIT}`" if unit else "start it"
    raise GameNodeError(
        Code.DISCONNECTED,
        f"this machine has a system server ({unit or places.SYSTEM_SOCKET}), and it does not run: {start}, "
        "or give --data-dir DIR for a server of your own",
    )


def is_held(data_dir: Path) -> bool:
    """Whether a server holds the data dir, or it is not ours to look."""
    try:
        return holder_of(data_dir / "server.lock") is not None
    except PermissionError:
        return True


@asynccontextmanager
async def serving(
    place: discovery.Place, *, flags: Mapping[str, Any], env: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[Embedded | None]:
    """Makes sure that a server serves the data dir: one that runs already (None), else one in this process.

    `flags` are the server's, by setting name. Raises GameNodeError, alone or in a group, where it cannot start.
    """
    async with AsyncExitStack() as stack:
        while not await _runs_already(place, say):
            refuse_in_silence(place)
            say("starting a server")
            # Not before: it takes a moment to import, and a console that attaches never needs it.
            from gamenode_server.app import EmbeddedSettings, open_embedded

            told = load(EmbeddedSettings, flags={**flags, "data_dir": str(place.data_dir)}, env=env)
            usual, last = EmbeddedSettings(), _last_ports(place.data_dir)
            settings = replace(
                told,
                listen=listening(told.listen, usual.listen, last.get("listen")),
                join_listen=listening(told.join_listen, usual.join_listen, last.get("join_listen")),
            )
            try:
                server = await stack.enter_async_context(open_embedded(settings))
            except GameNodeError:
                if is_held(place.data_dir):
                    continue  # another console was faster
                raise
            yield Embedded(server.place.mark_stopped)
            return
        yield None


def listening(told: str, usual: str, last: int | None) -> str:
    """The address to listen on: as told; the usual one gives way to the port of last time, or to any that is free."""
    return told if told != usual else machine.free_address(last or split_address(usual)[1])


def _last_ports(data_dir: Path) -> dict[str, int]:
    """The ports that the last server here had: agents look for it there."""
    try:
        document = json.loads((data_dir / "server" / "ports.json").read_text(encoding="utf-8"))
        return {str(name): split_address(address)[1] for name, address in document.items() if address}
    except (OSError, ValueError, AttributeError):
        return {}


async def _runs_already(place: discovery.Place, say: Callable[[str], None]) -> bool:
    """Waits out a server that is about to start or to end; whether one serves then."""
    while is_held(place.data_dir):
        try:
            pid = holder_of(place.data_dir / "server.lock")
        except PermissionError:
            return True
        document = discovery.server_file(place.data_dir)
        if document is not None and document.get("pid") == pid:
            return True
        say(f"waiting for the server that starts or ends on {place.data_dir} (pid {pid or '?'})")
        await asyncio.sleep(_LOOK)
    return False
