"""The kinds that speak with game servers."""

from __future__ import annotations

from typing import Final

from gamenode_pipelines.kinds.checks import HOST, PORT
from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, TEXT, Leaf, words
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, ListOf, Record
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

#: What game servers can be asked in.
QUERY_PROTOCOLS: Final = (
    "ase", "battlefield", "doom3", "gamespy1", "gamespy2", "gamespy3", "killingfloor", "minecraft", "quake1",
    "quake2", "quake3", "raknet", "samp", "source", "teeworlds", "unreal2", "vcmp", "won",
)  # fmt: skip
#: What they can be told commands in.
RCON_PROTOCOLS: Final = ("quake3", "source", "teeworlds")


def command_line(value: object) -> str:
    """One line: no value of an expression can make two of it. What a `;` written in it means is its own affair."""
    text = text_of(value)
    if not text.strip():
        raise ValueError("is empty; write a command")
    if any(ord(character) < 32 and character != "\t" for character in text):
        raise ValueError(f"{shown(text)} has a line break or another control character in it; write one item a command")
    return text


def no_command(value: str, whole: bool) -> None:
    """A value may be a command or a part of one, and never adds one: consoles part them at `;`, but not in quotes."""
    found = next((sign for sign in (";" if whole else ';"') if sign in value), "")
    if found:
        raise ValueError(
            f"its value {shown(value)} has a {found} in it, which could add a command; write one item each"
        )


def _where(protocols: tuple[str, ...]) -> dict[str, Field]:
    return {
        "protocol": Field(words(protocols), "What the server speaks.", True),
        "host": Field(HOST, "The host, as the node sees it.", default="127.0.0.1"),
        "port": Field(PORT, "The port.", True),
    }


WHERE_MEANT: Final = {"game": "protocol", "type": "protocol", "address": "host", "ip": "host", "command": "commands"}

GAMES: Final = (
    Kind(
        "game.query",
        "Asks a game server how it is, until it answers; within 30 s unless the step says another `timeout`.",
        Record(
            _where(QUERY_PROTOCOLS),
            "game.query",
            meant=WHERE_MEANT,
        ),
        idempotent=True,
        outputs={
            "players": "how many are in",
            "max_players": "how many fit in",
            "map": "the map",
            "name": "the server's name",
        },
    ),
    Kind(
        "game.rcon",
        "Sends commands to a game server, one after the other.",
        Record(
            _where(RCON_PROTOCOLS)
            | {
                "password": Field(TEXT, "What lets commands in.", True),
                "commands": Field(
                    ListOf(Leaf("command", command_line, SCALAR_SCHEMA, empty="")), "The commands, each a line.", True
                ),
            },
            "game.rcon",
            meant=WHERE_MEANT,
        ),
        outputs={"reply": "the last command's answer"},
        guards={"commands": no_command},
    ),
)
