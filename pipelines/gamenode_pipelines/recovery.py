"""What an agent that has just started does about an attempt it may have started before. The table of the design, §4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class Phase(StrEnum):
    """What the supervisor says of an attempt."""

    RUNNING = "running"
    #: There is an exit record.
    ENDED = "ended"
    #: The supervisor has a note of it, but cannot say what became of it.
    UNKNOWN = "unknown"
    #: The supervisor's records go back far enough to prove that it was never asked.
    NEVER_STARTED = "never_started"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an attempt.

    `same_boot`: the host has not been restarted since the attempt was noted. `may_have_started`: for an unknown one,
    whether its process may have come to life.
    """

    phase: Phase
    same_boot: bool
    may_have_started: bool


@dataclass(frozen=True, slots=True)
class Respawn:
    """It never ran: start it, same attempt, same fence."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """It ended meanwhile: take its exit code and its output (`StepEnded`)."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """It still runs: watch it again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """It may have run, and nobody can say how far (`StepLost`, once none of its processes is left)."""

    reason: str


Decision = Respawn | Harvest | Adopt | Lost


def decide(evidence: Evidence) -> Decision:
    """What to do about the attempt. Never starts anything that may have run; adopts nothing over a reboot."""
    match evidence.phase:
        case Phase.NEVER_STARTED:
            return Respawn()
        case Phase.ENDED:
            return Harvest()
        case Phase.RUNNING:
            return Adopt() if evidence.same_boot else Lost("the host was restarted while it ran")
        case Phase.UNKNOWN:
            if not evidence.may_have_started:
                return Respawn()
            if evidence.same_boot:
                return Lost("the supervisor of its process was lost")
            return Lost("the host was restarted while it may have run")
        case _:
            assert_never(evidence.phase)
