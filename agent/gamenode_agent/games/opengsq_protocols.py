"""The protocols that the library opengsq speaks, with its answers made alike.

The library is imported on first use, in a thread: it takes a quarter of a second and 30 MB. Three things it does are
replaced in its modules as they are loaded: it drops the bytes of a name that are not UTF-8; it reads from TCP, and
unpacks, as much as a server cares to send. Whatever its parsers raise of a malformed packet is
Garbled here.
"""

from __future__ import annotations

import asyncio
import bz2
import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import Any, NamedTuple

from gamenode_agent.games.errors import Garbled, network_trouble
from gamenode_agent.games.server_status import ServerStatus
from gamenode_agent.games.text import in_one_line, readable

#: More than any honest answer has, of bytes and of what they unpack to.
_LARGEST_ANSWER = 1 << 20
#: `raw` is for people: not more of it than this.
_MOST_RAW, _LONGEST_RAW = 200, 1000
#: More players than any server has: past it the answer is nonsense.
_MOST_PLAYERS = 100_000


class _Protocol(NamedTuple):
    module: str
    cls: str
    method: str
    #: What of an answer, as a mapping, is what.
    read: Callable[[Mapping[str, Any]], ServerStatus]


async def query(name: str, host: str, port: int, *, seconds: float) -> ServerStatus:
    """One question, by a name of PROTOCOLS. Raises GameError."""
    where = f"{host}:{port}"
    protocol = PROTOCOLS[name]
    speaker = await asyncio.to_thread(_load, protocol.module, protocol.cls)
    with network_trouble(where, seconds):
        async with asyncio.timeout(seconds):
            try:
                answer = await getattr(speaker(host, port, seconds), protocol.method)()
                return protocol.read(_mapping(answer))
            except (TimeoutError, OSError):
                raise
            except Exception as error:  # whatever its parser trips over
                raise Garbled(where, in_one_line(str(error))[:200] or type(error).__name__) from error


@cache
def _load(module_name: str, cls: str) -> Any:
    from opengsq.binary_reader import BinaryReader  # type: ignore[import-untyped]
    from opengsq.protocol_socket import TcpClient  # type: ignore[import-untyped]

    class LosslessReader(BinaryReader):  # type: ignore[misc]
        def read_string(self, delimiters: Any = None, encoding: str = "utf-8", errors: str = "ignore") -> str:
            if encoding != "utf-8":
                return str(super().read_string(delimiters, encoding, errors))
            return readable(super().read_string(delimiters, "latin-1", "strict").encode("latin-1"))

    class BoundedClient(TcpClient):  # type: ignore[misc]
        came = 0

        async def recv(self, size: int | None = None) -> bytes:
            data: bytes = await super().recv(size)
            self.came += len(data)
            if self.came > _LARGEST_ANSWER:
                raise ValueError("an answer without end")
            return data

    replaced = {"BinaryReader": LosslessReader, "TcpClient": BoundedClient, "bz2": _BoundedBz2}
    wanted = getattr(importlib.import_module(f"opengsq.protocols.{module_name}"), cls)
    for ancestor in wanted.__mro__:
        if ancestor.__module__.startswith("opengsq.protocols."):
            module = importlib.import_module(ancestor.__module__)
            for name, ours in replaced.items():
                if hasattr(module, name):
                    setattr(module, name, ours)
    return wanted


class _BoundedBz2:
    @staticmethod
    def decompress(data: bytes) -> bytes:
        return bz2.BZ2Decompressor().decompress(data, _LARGEST_ANSWER)


def _mapping(answer: Any) -> Mapping[str, Any]:
    if is_dataclass(answer) and not isinstance(answer, type):
        return asdict(answer)
    if isinstance(answer, dict):
        return answer
    raise ValueError(f"an answer of the kind {type(answer).__name__}")


def _from_lists(*, name: str, map_: str, most: str, count: str = "") -> Callable[[Mapping[str, Any]], ServerStatus]:
    """Answers that are `info`, a mapping of texts, and `players`, a list. `count` is preferred where info has it."""

    def read(answer: Mapping[str, Any]) -> ServerStatus:
        info = {str(key).lower(): value for key, value in answer["info"].items()}
        listed = len(answer["players"])
        # A list may be cut to what a packet holds, and a count may leave the bots out: the higher one has everybody.
        counted = _number(info.get(count)) if count else None
        return _status(
            players=listed if counted is None else max(listed, counted),
            bots=None,
            most=_number(info.get(most)),
            map_=info.get(map_),
            name=info.get(name) or info.get("hostname"),
            raw=info,
        )

    return read


def _from_fields(*, name: str, map_: str, players: str, most: str) -> Callable[[Mapping[str, Any]], ServerStatus]:
    """Answers with a field for everything."""

    def read(answer: Mapping[str, Any]) -> ServerStatus:
        return _status(
            players=_number(answer.get(players)),
            bots=_number(answer.get("bots")),
            most=_number(answer.get(most)),
            map_=answer.get(map_),
            name=answer.get(name),
            raw=answer,
        )

    return read


def _from_minecraft(answer: Mapping[str, Any]) -> ServerStatus:
    players, version = answer["players"], answer.get("version")
    return _status(
        players=_number(players.get("online")),
        bots=0,  # the game has none
        most=_number(players.get("max")),
        map_="",  # the game has none to tell
        name=_plain(answer.get("description")),
        raw={"version": version.get("name")} if isinstance(version, dict) else {},
    )


def _plain(component: Any, depth: int = 0) -> str:
    """The text of one of Minecraft's text components, which hold others."""
    if depth > 20:
        return ""
    match component:
        case str():
            return component
        case list():
            return "".join(_plain(part, depth + 1) for part in component)
        case dict():
            return _plain(component.get("text"), depth + 1) + _plain(component.get("extra"), depth + 1)
        case _:
            return ""


def _status(
    *, players: int | None, bots: int | None, most: int | None, map_: Any, name: Any, raw: Mapping[str, Any]
) -> ServerStatus:
    return ServerStatus(
        players=players,
        bots=bots,
        max_players=most,
        map=in_one_line(str(map_ or ""))[:_LONGEST_RAW],
        name=in_one_line(str(name or ""))[:_LONGEST_RAW],
        raw={
            in_one_line(str(key))[:_LONGEST_RAW]: in_one_line(str(value))[:_LONGEST_RAW]
            for key, value in list(raw.items())[:_MOST_RAW]
            if isinstance(value, (str, int, float))
        },
    )


def _number(value: Any) -> int | None:
    """A count, or None where there is none. Raises ValueError for one that cannot be."""
    if value is None or value == "":
        return None
    number = int(value)
    if not 0 <= number <= _MOST_PLAYERS:
        raise ValueError(f"{number} players cannot be")
    return number


_VALVE = _from_fields(name="name", map_="map", players="players", most="max_players")
_SHOWN = _from_fields(name="hostname", map_="map", players="num_players", most="max_players")
_UNREAL = _from_fields(name="server_name", map_="map_name", players="num_players", most="max_players")
_SAMP = _from_fields(name="server_name", map_="", players="num_players", most="max_players")
_RAKNET = _from_fields(name="motd_line1", map_="motd_line2", players="num_players", most="max_players")
_GAMESPY = _from_lists(name="hostname", map_="mapname", most="maxplayers", count="numplayers")

#: What can be asked, by name.
PROTOCOLS: Mapping[str, _Protocol] = {
    "ase": _Protocol("ase", "ASE", "get_status", _SHOWN),
    "battlefield": _Protocol("battlefield", "Battlefield", "get_info", _SHOWN),
    "doom3": _Protocol(
        "doom3", "Doom3", "get_status", _from_lists(name="si_name", map_="si_map", most="si_maxplayers")
    ),
    "gamespy1": _Protocol("gamespy1", "GameSpy1", "get_status", _GAMESPY),
    "gamespy2": _Protocol("gamespy2", "GameSpy2", "get_status", _GAMESPY),
    "gamespy3": _Protocol("gamespy3", "GameSpy3", "get_status", _GAMESPY),
    "killingfloor": _Protocol("killingfloor", "KillingFloor", "get_details", _UNREAL),
    "minecraft": _Protocol("minecraft", "Minecraft", "get_status", _from_minecraft),
    "quake1": _Protocol("quake1", "Quake1", "get_status", _from_lists(name="hostname", map_="map", most="maxclients")),
    "quake2": _Protocol(
        "quake2", "Quake2", "get_status", _from_lists(name="hostname", map_="mapname", most="maxclients")
    ),
    "quake3": _Protocol(
        "quake3", "Quake3", "get_status", _from_lists(name="sv_hostname", map_="mapname", most="sv_maxclients")
    ),
    "raknet": _Protocol("raknet", "RakNet", "get_status", _RAKNET),
    "samp": _Protocol("samp", "Samp", "get_status", _SAMP),
    "source": _Protocol("source", "Source", "get_info", _VALVE),
    "unreal2": _Protocol("unreal2", "Unreal2", "get_details", _UNREAL),
    "vcmp": _Protocol("vcmp", "Vcmp", "get_status", _SAMP),
    "won": _Protocol("won", "WON", "get_info", _VALVE),
}
