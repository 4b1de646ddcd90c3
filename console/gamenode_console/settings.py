"""What the client can be told: flags, `GAMENODE_*` environment, config file section `client`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gamenode_proto.process.parsers import one_of, path
from gamenode_proto.process.settings import setting

OUTPUTS = ("table", "wide", "json", "jsonl", "name")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings of `gamenode`."""

    PROGRAM: ClassVar[str] = "client"

    data_dir: Path | None = setting(None, doc="The data dir of the server to talk to.", parse=path, metavar="DIR")  # noqa: RUF009
    context: str = setting("", doc="The context that names the server (see `gamenode context`).", metavar="NAME")
    output: str = setting("table", doc="How to print: table, wide, json, jsonl or name.", parse=one_of(*OUTPUTS))
    log_level: str = setting("warning", doc="What to log on stderr.", parse=one_of("debug", "info", "warning", "error"))
    log_format: str = setting("text", doc="How to log.", parse=one_of("text", "json"))
