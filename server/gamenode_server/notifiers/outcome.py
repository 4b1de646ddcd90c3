"""What came of one try to tell somebody, and when the next one is due. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_proto.backoff import full_jitter

#: The longest wait between two tries, and the longest that a receiver can ask for; seconds.
CAP = 300.0
LONGEST_WISH = 3600.0
_LEAST = 0.5
MAX_SAID = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """`answer` is what came back, or what went wrong, in a line; it holds no secret of ours."""

    delivered: bool
    answer: str
    #: Trying again can help.
    again: bool = True
    #: Seconds after which the receiver asked to be tried again; 0 where it did not.
    wish: float = 0.0


def said(data: bytes) -> str:
    """The beginning of what somebody else said, as one line that no terminal obeys."""
    text = "".join(each if each.isprintable() else " " for each in data.decode("utf-8", "replace"))
    return " ".join(text.split())[:MAX_SAID]


def wait(outcome: Outcome, attempts: int, random: float) -> float:
    """Seconds until the next try, after `attempts` that failed; `random` is from [0, 1)."""
    if outcome.wish:
        return min(outcome.wish, LONGEST_WISH)
    return _LEAST + full_jitter(attempts, random, base=1.0, cap=CAP)
