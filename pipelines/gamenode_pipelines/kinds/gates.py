"""The kind that waits until a game server is empty enough for what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gamenode_pipelines.kinds.checks import HOST, PORT
from gamenode_pipelines.kinds.fields import DURATION, FLAG, SCALAR_SCHEMA, TEXT, Leaf, is_template, whole, words
from gamenode_pipelines.kinds.games import QUERY_PROTOCOLS, RCON_PROTOCOLS, WHERE_MEANT, command_line, no_command
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.kinds.wrong import Item
from gamenode_pipelines.wording import UnknownWord
from gamenode_pipelines.written import text_of

_ENDINGS: Final = ("fail", "force")
_COMMAND: Final = Leaf("command", command_line, SCALAR_SCHEMA, empty="")


def _ending(value: object) -> str:
    word = text_of(value)
    if word == "ask":
        raise ValueError("not yet: `ask`; let it fail, and start the run again with `force` once somebody has agreed")
    if word not in _ENDINGS:
        raise UnknownWord(word, _ENDINGS)
    return word


_RCON: Final = Record(
    {
        "protocol": Field(words(RCON_PROTOCOLS), "What its console speaks; `protocol` where it is left out."),
        "port": Field(PORT, "The console's port; `port` where it is left out."),
        "password": Field(TEXT, "What lets commands in.", True),
    },
    "`rcon`",
    optional=True,
)


def _rule(values: Mapping[str, Any]) -> Iterable[Item]:
    rcon = values.get("rcon")
    for name in ("announce", "lock_command"):
        if values.get(name) and not rcon:
            yield Item((name,), "needs `rcon`, with the password that lets it in")
    protocol = values.get("protocol")
    spoken = isinstance(protocol, str) and (protocol in RCON_PROTOCOLS or is_template(protocol))
    if isinstance(rcon, Mapping) and not rcon.get("protocol") and not spoken and protocol in QUERY_PROTOCOLS:
        yield Item(("rcon",), f"needs its own `protocol`: commands do not go by `{protocol}`")
    if values.get("on_deadline") and not values.get("deadline"):
        yield Item(("on_deadline",), "needs a `deadline`")


GATES: Final = (
    Kind(
        "game.gate",
        "Waits until few enough players are in; unknown is not zero.",
        Record(
            {
                "instance": Field(TEXT, "", later="`instance`; name its `protocol` and `port`"),
                "protocol": Field(words(QUERY_PROTOCOLS), "What the server speaks.", True),
                "host": Field(HOST, "The host, as the node sees it.", default="127.0.0.1"),
                "port": Field(PORT, "The port.", True),
                "players": Field(whole(0, 100_000, empty=0), "How many may be in at most; nobody where left out."),
                "ignore_bots": Field(FLAG, "Whether bots do not count, where the server tells them apart."),
                "announce": Field(_COMMAND, "A command that is sent once when players are in, to tell them."),
                "rcon": Field(_RCON, "The console that commands go to."),
                "lock_command": Field(
                    _COMMAND, "A command that lets nobody in any more, sent before it is asked for the last time."
                ),
                "deadline": Field(DURATION, "How long it waits; as long as the step may take where left out."),
                "on_deadline": Field(
                    Leaf("`fail` | `force`", _ending, {"enum": list(_ENDINGS)}, empty=""),
                    "What happens then: it fails (left out), or goes on in spite of them.",
                ),
            },
            "game.gate",
            rule=_rule,
            meant={**WHERE_MEANT, "max_players": "players", "bots": "ignore_bots", "timeout": "deadline"},
        ),
        idempotent=True,
        outputs={
            "players": "how many were in at the end; empty where that is not known",
            "forced": "`true` where it went on in spite of them",
        },
        guards={"announce": no_command, "lock_command": no_command},
    ),
)
