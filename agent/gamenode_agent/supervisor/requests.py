"""What the agent asks of the supervisor and what it hears from it, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from gamenode_agent.supervisor import protocol
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import LogHole, LogSummary
from gamenode_pipelines.plan import Limits, StopPolicy

_UNLIMITED = Limits()
_STOP = StopPolicy()


class Phase(StrEnum):
    """Where an attempt stands, as far as the supervisor can know."""

    RUNNING = protocol.RUNNING
    ENDED = protocol.ENDED
    #: A supervisor died, or the host: none of its processes is left, and whether it ran to its end is not known.
    UNKNOWN = protocol.UNKNOWN
    #: Of a step the agent carries out itself: an agent that is gone began it, and nothing of the agent's goes on.
    INTERRUPTED = "interrupted"


#: What may stand for an AttemptKey: any four of these, by whatever name.
Key = tuple[str, int, str, int]


class AttemptKey(NamedTuple):
    """What makes an attempt one of its kind: asking twice to start it starts it once."""

    task_id: str
    fence: int
    step_id: str
    attempt: int

    def __str__(self) -> str:
        return text_of(self)

    @classmethod
    def parse(cls, text: str) -> AttemptKey:
        """The key that `str` made this text of."""
        task_id, fence, step_id, attempt = text.split("/")
        return cls(task_id, int(fence), step_id, int(attempt))


def text_of(key: Key) -> str:
    """A key as it is sent."""
    return f"{key[0]}/{key[1]}/{key[2]}/{key[3]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """One attempt to start.

    `directory` is the attempt's own and absolute, and is made if it is not there: the supervisor writes `log`,
    `log.idx` (once there is output) and `state.jsonl` there. `env` is everything the process gets besides PATH, HOME
    and their like and its marks (`GAMENODE_TASK_ID`, `_FENCE`, `_STEP_ID`, `_ATTEMPT`). `cwd` defaults to
    `directory`; `timeout` is in seconds, 0 for none. Of more output than `log_limit` bytes head and tail are kept (0:
    64 MiB). `masks` are byte strings that never reach the log. Nothing of the request is written to disk.
    """

    key: Key
    directory: Path
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    limits: Limits = _UNLIMITED
    timeout: float = 0.0
    stop: StopPolicy = _STOP
    log_limit: int = 0
    masks: Sequence[bytes] = ()
    #: What ends it before the signal does, with its variables besides `env`; nothing where empty.
    stop_argv: Sequence[str] = ()
    stop_env: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is sent; what says nothing is left out."""
        message: dict[str, Any] = {
            "key": text_of(self.key),
            "directory": str(self.directory),
            "argv": list(self.argv),
            "env": dict(self.env),
            "signal": self.stop.signal.upper().removeprefix("SIG"),
            "grace": self.stop.grace,
        }
        if self.cwd:
            message["cwd"] = self.cwd
        if self.user:
            message["user"] = self.user
        if self.limits:
            names = ("cpus", "memory", "pids", "file_size", "open_files", "output")
            message["limits"] = {name: getattr(self.limits, name) for name in names if getattr(self.limits, name)}
        if self.timeout:
            message["timeout"] = self.timeout
        if self.log_limit:
            message["log_limit"] = self.log_limit
        if self.stop_argv:
            message["stop"] = {"argv": list(self.stop_argv), "env": dict(self.stop_env)}
        if self.masks:
            message["masks"] = [mask.decode("latin-1") for mask in self.masks]
        return message


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What is known of an attempt by what carries it out.

    `exit_code` is None when nothing was started or nothing is known; a signal N shows as 128 + N. `error` says why it
    ended, where it was not simply its exit code. `may_have_started` is False only where that is proven.
    """

    key: AttemptKey
    phase: Phase
    pid: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    error: Error | None = None
    log: LogSummary | None = None
    may_have_started: bool = True
    #: Bytes in its log by now.
    size: int = 0
    #: What it has put out; None where that is in a file of its folder.
    outputs: Mapping[str, str] | None = None
    #: Of an unknown one that the agent carried out itself: why nobody can say how it ended.
    lost: str = ""

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> AttemptReport:
        """The report in a message."""
        error, log = message["error"], message["log"]
        return cls(
            AttemptKey.parse(message["key"]),
            Phase(message["phase"]),
            message["pid"],
            message["started_at"],
            message["ended_at"],
            message["exit_code"],
            error_from_json(error) if error else None,
            _log(log) if log else None,
            message["may_have_started"],
            message["size"],
            message.get("outputs"),
            message.get("lost", ""),
        )


#: What `spawn` returns.
Attempt = AttemptReport


@dataclass(frozen=True, slots=True)
class Recoverable:
    """An attempt that a supervisor may once have begun. `boot_id` is the host's boot when the agent noted that."""

    key: Key
    directory: Path
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How limits are kept on this host (`cgroup`, or what stands in for it), and whether steps can have other users."""

    limits: Mapping[str, str]
    cgroup_version: int = 0
    users: bool = False

    def names(self) -> tuple[str, ...]:
        """As short words, e.g. for a node's capabilities."""
        kept = tuple(f"limits.{name}={how}" for name, how in sorted(self.limits.items()))
        return (*kept, "users") if self.users else kept


def error_from_json(message: Mapping[str, Any]) -> Error:
    """An error as the supervisor sends it."""
    return Error(Code(message["code"]), message["message"], message["details"])


def _log(message: Mapping[str, Any]) -> LogSummary:
    holes = tuple(LogHole(*hole) for hole in message["holes"])
    return LogSummary(message["lines"], message["bytes"], message["sha256"], holes)
