"""The settings of gamenode-server: flags, environment and the `server` section of the config file.

Intervals are settings, so that tests run at a fraction of real time. Reads nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gamenode_proto.process.logs import FORMATS, LEVELS
from gamenode_proto.process.parsers import address, addresses, duration, integer, one_of, path, size, texts
from gamenode_proto.process.settings import setting
from gamenode_proto.transport import Keepalive
from gamenode_server.identity.login import UnixRoles
from gamenode_server.intervals import Intervals
from gamenode_server.notifiers.reading import as_written

DAY = 86_400.0
_MORE_THAN_NOTHING = (
    "heartbeat",
    "metrics_interval",
    "suspect",
    "offline",
    "keepalive_time",
    "keepalive_timeout",
    "command_timeout",
    "answer_timeout",
)


def _unix_roles(value: Any) -> tuple[str, ...]:
    items = texts(value)
    UnixRoles.parse(items)
    return items


def _on_loopback(value: Any) -> str:
    """`HOST:PORT`, or a port of this machine only."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and text.removeprefix(":").isdecimal():
        text = f"127.0.0.1:{text.removeprefix(':')}"
    return address(text)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server is told at its start."""

    PROGRAM: ClassVar[str] = "server"

    data_dir: Path | None = setting(None, doc="Where everything is kept.", parse=path, metavar="DIR")  # noqa: RUF009 - it is a field
    listen: str = setting("0.0.0.0:7443", doc="Where agents connect (mTLS). Port 0 picks one.", parse=address)
    join_listen: str = setting("0.0.0.0:7444", doc="Where hosts join (TLS). Port 0 picks one.", parse=address)
    control_listen: str = setting(
        "", doc="Where operators with credentials connect (mTLS); empty: nowhere. Port 0 picks one.", parse=address
    )
    metrics_listen: str = setting(
        "",
        doc="Where Prometheus finds metrics (plain HTTP); empty: nowhere. A bare port is on loopback.",
        parse=_on_loopback,
        metavar="[HOST:]PORT",
    )
    advertise: tuple[str, ...] = setting(
        (), doc="Addresses that go into every join token, best first.", parse=addresses
    )
    log_level: str = setting("info", doc="What to log on stderr.", parse=one_of(*LEVELS))
    log_format: str = setting("text", doc="How to log.", parse=one_of(*FORMATS))

    unix_roles: tuple[str, ...] = setting(
        (), doc="Roles of local users: USER=ROLE or @GROUP=ROLE.", parse=_unix_roles, hidden=True
    )
    heartbeat: float = setting(5.0, doc="Between two heartbeats of an agent.", hidden=True)
    metrics_interval: float = setting(5.0, doc="Between two samples of a host.", hidden=True)
    suspect: float = setting(20.0, doc="Silence after which a node is suspect.", hidden=True)
    offline: float = setting(60.0, doc="Silence after which a node is offline.", hidden=True)
    start_grace: float = setting(
        0.0, doc="After a start, added to `offline` for nodes that have not come back; 0: like it.", hidden=True
    )
    resend: float = setting(0.0, doc="When unacknowledged work is sent again; 0: as `heartbeat`.", hidden=True)
    ticket_life: float = setting(600.0, doc="How long an assignment may be on its way.", hidden=True)
    log_settle: float = setting(10.0, doc="How long the end of a run waits for its logs.", hidden=True)
    task_grace: float = setting(30.0, doc="What a silent node's task may take beyond its timeout.", hidden=True)
    command_timeout: float = setting(
        60.0, doc="How long a node may take for a command, e.g. to stop a container.", hidden=True
    )
    answer_timeout: float = setting(10.0, doc="How long a node may take to begin a log it was asked for.", hidden=True)
    keepalive_time: float = setting(10.0, doc="Silence after which a connection is pinged.", hidden=True)
    keepalive_timeout: float = setting(5.0, doc="How long a ping may take.", hidden=True)
    certificate_life: float = setting(30 * DAY, doc="How long a node's certificate is good for.", hidden=True)
    audit_checkpoint: float = setting(300.0, doc="Between two signed marks of the audit log.", hidden=True)
    stop_grace: float = setting(1.0, doc="What running calls are given when the server stops.", hidden=True)
    keep_runs: float = setting(30 * DAY, doc="How long ended runs are kept.", parse=duration, hidden=True)
    keep_failed_runs: float = setting(90 * DAY, doc="How long failed runs are kept.", parse=duration, hidden=True)
    keep_events: float = setting(30 * DAY, doc="How long events outside of runs are kept.", hidden=True)
    notifiers: tuple[dict[str, Any], ...] = setting(
        (),
        doc="Who is told of events; a list in the config file, see `docs/notifiers.md`.",
        parse=as_written,
        hidden=True,
    )
    metrics_nodes: int = setting(1000, doc="Up to so many nodes have metrics of their own.", parse=integer, hidden=True)
    keep_artifacts: float = setting(
        30 * DAY, doc="How long artifacts are kept where nobody says.", parse=duration, hidden=True
    )
    artifact_size: int = setting(2 << 30, doc="What one artifact may take.", parse=size, hidden=True)
    artifact_space: int = setting(20 << 30, doc="What all artifacts may take on disk.", parse=size, hidden=True)
    log_space: int = setting(5 << 30, doc="What all logs may take on disk.", parse=size, hidden=True)

    def __post_init__(self) -> None:
        for name in _MORE_THAN_NOTHING:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.replace('_', '-')}: must be more than no time")
        if self.metrics_nodes < 0:
            raise ValueError("metrics-nodes: must be at least 0")
        if not self.heartbeat < self.suspect < self.offline:
            raise ValueError(
                f"heartbeat ({self.heartbeat:g} s), suspect ({self.suspect:g} s) and offline ({self.offline:g} s) "
                "must grow in this order"
            )

    @property
    def keepalive(self) -> Keepalive:
        """How the transport notices a dead peer."""
        return Keepalive(self.keepalive_time, self.keepalive_timeout)

    @property
    def intervals(self) -> Intervals:
        """How long the server waits for what; what is not set follows from what is."""
        standard = Intervals()
        return replace(
            standard,
            heartbeat=self.heartbeat,
            metrics=self.metrics_interval,
            suspect=self.suspect,
            offline=self.offline,
            start_grace=self.start_grace or self.offline,
            resend=self.resend or self.heartbeat,
            ticket=self.ticket_life,
            log_settle=self.log_settle,
            task_grace=self.task_grace,
            command=self.command_timeout,
            answer=self.answer_timeout,
            tick=min(standard.tick, self.heartbeat / 5),
        )


@dataclass(frozen=True, slots=True)
class EmbeddedSettings(ServerSettings):
    """A server inside of a console: reachable from this machine only, until it is told otherwise."""

    listen: str = setting("127.0.0.1:7443", doc="Where agents connect (mTLS). Port 0 picks one.", parse=address)
    join_listen: str = setting("127.0.0.1:7444", doc="Where hosts join (TLS). Port 0 picks one.", parse=address)
