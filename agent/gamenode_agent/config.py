"""The agent's settings: built once by the command line and handed down. Every interval is one, for tests to scale."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gamenode_proto.process import parsers
from gamenode_proto.process.logs import FORMATS, LEVELS
from gamenode_proto.process.places import default_data_dir
from gamenode_proto.process.settings import setting

_KIB = 1 << 10
_MIB = 1 << 20
_DAY = 86_400.0

#: What `--docker-host` says for an agent without containers.
NO_ENGINE = "none"


def port_range(value: Any) -> str:
    """`FIRST-LAST`, as it is written."""
    first, dash, last = parsers.text(value).partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise ValueError(f"{value!r} is not a range of ports such as 27000-28999")
    return f"{int(first)}-{int(last)}"


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """What every command of the agent takes."""

    PROGRAM: ClassVar[str] = "agent"

    data_dir: Path | None = setting(None, parse=parsers.path, metavar="DIR", doc="Where the agent keeps its files.")  # noqa: RUF009 - a field
    log_level: str = setting("info", parse=parsers.one_of(*LEVELS), doc="How much is logged to stderr.")
    log_format: str = setting("text", parse=parsers.one_of(*FORMATS), doc="How a log line is written.")

    @property
    def agent_dir(self) -> Path:
        """The agent's own folder in the data dir."""
        return self.root / "agent"

    @property
    def root(self) -> Path:
        """The data dir."""
        return self.data_dir if self.data_dir is not None else default_data_dir(os.environ)


@dataclass(frozen=True, slots=True)
class AgentSettings(CommonSettings):
    """Everything an operator can set. Seconds and bytes."""

    slots: int = setting(8, parse=parsers.positive, doc="Tasks at once.")

    docker_host: str = setting(
        "",
        metavar="URL|none",
        doc="The container engine, e.g. `unix:///run/docker.sock`; `none`: no containers. By default found by "
        "`DOCKER_HOST` or in the usual places.",
    )
    engine_wait: float = setting(10.0, doc="How long a step that needs the engine waits for one that is away.")
    engine_retry: float = setting(1.0, hidden=True, doc="Longest pause between two looks for an engine that is away.")
    port_range: str = setting(
        "27000-28999",
        parse=port_range,
        metavar="FIRST-LAST",
        doc="Host ports that a container's `auto` ports come from.",
    )

    reconnect_base: float = setting(0.5, hidden=True, doc="First pause before connecting again; doubles.")
    reconnect_max: float = setting(30.0, hidden=True, doc="Longest pause before connecting again.")
    stable_after: float = setting(60.0, hidden=True, doc="A session that held this long starts the pauses anew.")
    welcome_timeout: float = setting(10.0, hidden=True, doc="How long a server may take to answer a hello.")
    silence_limit: float = setting(0.0, hidden=True, doc="A server silent this long is given up; 0: three heartbeats.")
    keepalive_time: float = setting(10.0, hidden=True, doc="A silent connection is pinged after this long.")
    keepalive_timeout: float = setting(5.0, hidden=True, doc="A ping without an answer ends the connection after this.")
    goodbye_timeout: float = setting(1.0, hidden=True, doc="How long a clean stop waits for the server to say goodbye.")

    log_idle_close: float = setting(60.0, hidden=True, doc="The log connection is closed when idle for this long.")
    log_chunk: int = setting(256 * _KIB, parse=parsers.size, hidden=True, doc="Largest piece of a log in one message.")
    log_window: int = setting(4 * _MIB, parse=parsers.size, hidden=True, doc="Log bytes sent ahead of the server.")
    log_slow: float = setting(1.0, hidden=True, doc="An answer later than this makes log shipping slow down.")

    disk_reserve: int = setting(32 * _MIB, parse=parsers.size, doc="With less free disk than this, no new task starts.")
    storage_retry: float = setting(1.0, hidden=True, doc="Pause before a journal that was full is written again.")
    retention_age: float = setting(_DAY, hidden=True, doc="How long acknowledged records and ended tasks are kept.")
    retention_bytes: int = setting(64 * _MIB, parse=parsers.size, hidden=True, doc="How much of them is kept.")
    workspace_keep: float = setting(_DAY, doc="How long the workspace of a task that did not succeed is kept.")
    workspace_bytes: int = setting(1 << 30, parse=parsers.size, doc="How much all kept workspaces may take.")
    tidy_interval: float = setting(300.0, hidden=True, doc="Time between two rounds of housekeeping.")
    boot_id: str = setting("", hidden=True, doc="Names this boot of the host; by default the kernel's own name.")
    supervisor_timeout: float = setting(10.0, hidden=True, doc="How long the supervisor may take to answer.")

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last port of `port_range`."""
        first, _, last = self.port_range.partition("-")
        return int(first), int(last)

    def __post_init__(self) -> None:
        for name in (
            "engine_retry",
            "reconnect_base",
            "reconnect_max",
            "welcome_timeout",
            "tidy_interval",
            "storage_retry",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.replace('_', '-')} must be more than 0")
        if self.log_chunk > _MIB:
            raise ValueError("log-chunk may be at most 1m")
