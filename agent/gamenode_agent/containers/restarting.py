"""Whether a container that has ended is started again, when, and why: decisions only, acted on in `instances`."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds before a first restart; doubles with each crash in a row up to the longest.
BACKOFF = 1.0
LONGEST = 60.0
#: One that has run for so long starts anew.
STABLE = 600.0


@dataclass(frozen=True, slots=True)
class Policy:
    """A `restart:` that is not `no`. `most` restarts in a row, None for any number."""

    always: bool
    most: int | None = None


@dataclass(frozen=True, slots=True)
class StartAgain:
    """After so many seconds."""

    after: float
    crashes: int


@dataclass(frozen=True, slots=True)
class LeaveBe:
    """It has ended as it was meant to."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It does not come up."""

    why: str


Decision = StartAgain | LeaveBe | GiveUp


def parse(text: str) -> Policy | None:
    """`no`, `always`, `unless-stopped`, `on-failure`, `on-failure:N`. What nobody knows is `no`."""
    word, _, most = text.partition(":")
    match word:
        case "always" | "unless-stopped":
            return Policy(always=True)
        case "on-failure":
            return Policy(always=False, most=int(most) if most.isdecimal() and int(most) else None)
        case _:
            return None


def decide(policy: Policy, *, failed: bool, crashes: int, ran: float) -> Decision:
    """What becomes of a container that ended by itself.

    `failed`: not with 0. `crashes`: how often in a row it had ended before. `ran`: seconds since it was started.
    """
    if not failed and not policy.always:
        return LeaveBe("it has ended with exit code 0")
    if ran >= STABLE:
        crashes = 0
    if policy.most is not None and crashes >= policy.most:
        times = "once" if policy.most == 1 else f"{policy.most} times"
        return GiveUp(f"it was started again {times} and failed each time")
    return StartAgain(min(LONGEST, BACKOFF * 2.0 ** min(crashes, 16)), crashes + 1)
