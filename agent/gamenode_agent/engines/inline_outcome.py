"""What came of an attempt that the agent carried out itself, in the words in which an end is kept and told. Does
nothing."""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gamenode_agent.engines.inline import LostTrack, Result, Stop
from gamenode_agent.failures import leaves
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptKey, Phase
from gamenode_pipelines.errors import Code, Error, GameNodeError

logger = logging.getLogger(__name__)

#: Bytes of outputs, names and values together, as of a process's file of them.
MAX_OUTPUTS = 64 << 10

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; `lost`: why nobody knows."""

    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    ended_at: float = 0.0
    lost: str = ""

    def report(self, key: Attempt, *, started_at: float, now: float, log: dict[str, Any] | None) -> dict[str, Any]:
        """The final report; `log` is the log's summary, None where it could not be put together."""
        error = self.error
        return {
            "key": str(AttemptKey(*key)),
            "phase": str(Phase.UNKNOWN if self.lost else Phase.ENDED),
            "pid": 0,
            "started_at": started_at,
            "ended_at": min(now, self.ended_at or now),
            "exit_code": self.exit_code,
            "error": error
            and {
                "code": str(error.code),
                "message": _clean(error.message),
                "details": {_clean(name): _clean(value) for name, value in error.details.items()},
            },
            "log": log,
            "may_have_started": True,
            "size": log["bytes"] if log else 0,
            "outputs": dict(self.outputs),
            "lost": self.lost,
        }


async def caught(work: Callable[[], Awaitable[_T]]) -> _T | Exception:
    """What came of it: whatever its kind does, it does not end the agent."""
    try:
        return await work()
    except ExceptionGroup as group:
        causes = leaves(group)
        known = (LostTrack, GameNodeError)
        for kind in known:
            found = next((cause for cause in causes if isinstance(cause, kind)), None)
            if found is not None and all(isinstance(cause, known) for cause in causes):
                return found
        return group
    except Exception as error:
        return error


def judged(came: Result | Exception, about: Mapping[str, object]) -> Outcome:
    """How a `run` or `end` with this result ended the attempt; `about` is for the agent's log."""
    if isinstance(came, LostTrack):
        return Outcome(lost=_clean(str(came)) or "nobody knows how far it got")
    if isinstance(came, Exception):
        return Outcome(error=named(came, about))
    outputs = {_clean(name): _clean(value) for name, value in came.outputs.items()}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in outputs.items())
    if size > MAX_OUTPUTS:
        error = Error(Code.LIMIT_EXCEEDED, f"the step's outputs are longer than {MAX_OUTPUTS} bytes")
        return Outcome(came.exit_code, came.error or error, {}, came.ended_at)
    return Outcome(came.exit_code, came.error, outputs, came.ended_at)


def named(error: Exception, about: Mapping[str, object]) -> Error:
    """The error of a step; one that nobody foresaw gets a number, under which the agent's log has the rest."""
    if isinstance(error, GameNodeError):
        return error.error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Error(Code.STORAGE_FULL, f"there is no room on the disk of this node: {error}")
    incident = secrets.token_hex(4)
    logger.error("a step failed in an unforeseen way [%s]", incident, exc_info=error, extra=dict(about))
    return Error(Code.INTERNAL, f"the agent failed at this step; its log says how under [{incident}]")


def stopped(stop: Stop, timeout: float) -> Error:
    """Why an attempt was ended that did not end by itself."""
    if stop.code is Code.STEP_TIMEOUT:
        return Error(stop.code, stop.reason, {"timeout": f"{timeout:g}"})
    return Error(stop.code, stop.reason or "stopped")


def _clean(text: str) -> str:
    """Text that can be stored and sent, whatever bytes a game or a file name had in it."""
    return text.encode("utf-8", "replace").decode()
