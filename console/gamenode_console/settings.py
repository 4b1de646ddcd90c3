"""What client and console can be told: flags, `GAMENODE_*` environment, config file sections `client` and `console`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gamenode_proto.process.parsers import address, addresses, one_of, path
from gamenode_proto.process.settings import setting

OUTPUTS = ("table", "wide", "json", "jsonl", "name")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings of `gamenode`."""

    PROGRAM: ClassVar[str] = "client"

    data_dir: Path | None = setting(None, doc="The data dir of the server to talk to.", parse=path, metavar="DIR")  # noqa: RUF009
    context: str = setting("", doc="The context that names the server (see `gamenode context`).", metavar="NAME")
    connect: str = setting(
        "", doc="The address of a server on another host; needs --credentials.", parse=address, metavar="HOST:PORT"
    )
    credentials: Path | None = setting(  # noqa: RUF009
        None, doc="Who you are there: a file that `gamenode user create --out` wrote.", parse=path, metavar="FILE"
    )
    output: str = setting("table", doc="How to print: table, wide, json, jsonl or name.", parse=one_of(*OUTPUTS))
    log_level: str = setting("warning", doc="What to log on stderr.", parse=one_of("debug", "info", "warning", "error"))
    log_format: str = setting("text", doc="How to log.", parse=one_of("text", "json"))


def _keys(value: Any) -> tuple[tuple[str, str], ...]:
    """Which keys an action has: a mapping of its id to keys, or text `ID=KEYS;ID=KEYS`."""
    if isinstance(value, Mapping):
        return tuple((str(key), str(keys)) for key, keys in value.items())
    pairs = [part.partition("=") for part in str(value).split(";") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError(f"{value!r} is not ID=KEYS;ID=KEYS…")
    return tuple((key.strip(), keys.strip()) for key, _, keys in pairs)


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The settings of `gamenode-console`."""

    PROGRAM: ClassVar[str] = "console"

    data_dir: Path | None = setting(None, doc="The data dir of the server.", parse=path, metavar="DIR")  # noqa: RUF009
    context: str = setting("", doc="The context that names the server (see `gamenode context`).", metavar="NAME")
    connect: str = setting(
        "", doc="The address of a server on another host; needs --credentials.", parse=address, metavar="HOST:PORT"
    )
    credentials: Path | None = setting(  # noqa: RUF009
        None, doc="Who you are there: a file that `gamenode user create --out` wrote.", parse=path, metavar="FILE"
    )
    with_agent: bool = setting(False, doc="Also start an agent for this machine.")
    read_only: bool = setting(False, doc="Only look: nothing can be changed.")
    on_hangup: str = setting(
        "detach",
        doc="What a server of its own does when the terminal is lost.",
        parse=one_of("detach", "exit"),
    )
    listen: str = setting("", doc="Where agents connect to a server of its own. Default: loopback.", parse=address)
    join_listen: str = setting("", doc="Where hosts join a server of its own. Default: loopback.", parse=address)
    advertise: tuple[str, ...] = setting(
        (), doc="Addresses that go into every join token, best first.", parse=addresses
    )
    theme: str = setting("", doc="Colours. Default: what the terminal can show.", metavar="NAME")
    keys: tuple[tuple[str, str], ...] = setting(
        (), doc="Other keys, by the ids that the help shows.", parse=_keys, hidden=True
    )
    log_level: str = setting("info", doc="What to log.", parse=one_of("debug", "info", "warning", "error"))
    log_format: str = setting("text", doc="How to log.", parse=one_of("text", "json"))

    @property
    def client(self) -> ClientSettings:
        """The part that says which server is meant."""
        return ClientSettings(
            data_dir=self.data_dir, context=self.context, connect=self.connect, credentials=self.credentials
        )
