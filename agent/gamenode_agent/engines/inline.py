"""Steps that the agent carries out by itself, on its loop: containers, checks, files, games.

What is promised of a process holds for them too: an attempt has a folder with its log and a record of its end, its time
limit and its cancel, and it survives the agent. But nothing of it runs while no agent does; so after a restart an
attempt is *resumed*: its kind's `run` is called again, finds in the notes and in the engine how far it got, and goes on
from there. A kind that cannot tell raises LostTrack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import StopPolicy


class LostTrack(Exception):
    """It may have run, and nobody can say how far: the attempt is lost. The text says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended by itself. Without `error` it is judged by `exit_code`, None being success.

    `ended_at`, Unix seconds of the agent's clock, where that was before now: while no agent looked.
    """

    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Why and how an attempt is ended from outside: cancel, its time limit, its task's."""

    code: Code
    reason: str
    force: bool
    policy: StopPolicy


class Handle(Protocol):
    """An attempt as its kind sees it."""

    @property
    def key(self) -> Attempt:
        """Its task, fence, step and number."""
        ...

    @property
    def resumed(self) -> bool:
        """An earlier agent began it."""
        ...

    @property
    def same_boot(self) -> bool:
        """The host has not been restarted since it began."""
        ...

    @property
    def started_at(self) -> float:
        """When it first began, Unix seconds of the agent's clock."""
        ...

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was noted so far, by this agent or an earlier one."""
        ...

    def note(self, **facts: Any) -> None:
        """Writes down facts (JSON) before what they announce is done. Raises OSError on a full disk."""
        ...

    def say(self, text: str) -> None:
        """A line of the agent's own in the log."""
        ...

    def write(self, data: bytes, stream: int, time: float) -> None:
        """Output of what the step runs; `stream` 1 or 2, `time` Unix seconds."""
        ...

    @property
    def written(self) -> int:
        """Bytes of output that came so far, in the log or left out of it for its limit; over restarts too."""
        ...


class InlineStep(Protocol):
    """One attempt of a step of some kind, with its values in it."""

    async def run(self, attempt: Handle) -> Result:
        """Does it, from the beginning or from where it got to. Raises GameNodeError for what failed by name, LostTrack.

        Cancelled (asyncio) when the attempt is to end; then `end` is called, never both at once. When the agent
        itself ends, it is cancelled and nothing else happens.
        """
        ...

    async def end(self, attempt: Handle, stop: Stop) -> int | None:
        """Ends what `run` has started, and returns when nothing of it is left; the exit code where there is one.

        `run` may not even have begun. Called again, after a cancel, when a stop with more force comes; and after a
        pause when it raises GameNodeError, for as long as the engine cannot be asked. Raises LostTrack where nobody
        will ever know whether anything is left.
        """
        ...


@dataclass(frozen=True, slots=True)
class InlineRequest:
    """One attempt to carry out in the agent. `timeout` in seconds, 0 for none; `log_limit` 0: 64 MiB."""

    key: Attempt
    directory: str
    step: InlineStep
    timeout: float = 0.0
    stop: StopPolicy = field(default_factory=StopPolicy)
    log_limit: int = 0
