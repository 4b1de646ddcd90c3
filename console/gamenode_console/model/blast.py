"""How far an action reaches, and how sure one has to be of it. Pure.

Levels: 1 one thing, and it can be undone: y or n. 2 several: a list and the counts, the safe answer has the focus.
3 more than a quarter of the fleet or more than fifty nodes: the number of nodes is typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gamenode_console import texts

MANY_NODES = 50
LARGE_SHARE = 0.25
#: Names that are listed; of the others it is told how many there are.
LISTED = 8


@dataclass(frozen=True, slots=True)
class Blast:
    """What an action would touch, as its question shows it."""

    #: What is asked, with the verb that the answer does: `Cancel 3 runs?`
    question: str
    #: The word on the button that does it.
    verb: str
    level: int
    #: What is touched, and what it means; a line each.
    lines: tuple[str, ...] = ()
    #: What has to be typed at level 3.
    typed: str = ""


def level(nodes: int, fleet: int) -> int:
    """How sure one has to be of something that touches so many nodes of a fleet."""
    if nodes <= 1:
        return 1
    if nodes > MANY_NODES or (fleet > 3 and nodes > LARGE_SHARE * fleet):
        return 3
    return 2


def on_nodes(question: str, verb: str, names: Sequence[str], *, fleet: int, notes: Sequence[str] = ()) -> Blast:
    """The question for something that is done to nodes."""
    reach = level(len(names), fleet)
    share = f" ({len(names)} of {fleet} nodes)" if len(names) > 1 else ""
    lines = [listed(names) + share, *notes] if names else list(notes)
    return Blast(question, verb, reach, tuple(lines), str(len(names)) if reach == 3 else "")


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    shown = ", ".join(texts.one_line(name) for name in names[:LISTED])
    more = len(names) - LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def tally(counts: Mapping[str, int]) -> str:
    """How often each word is there, most first: `12 running, 3 pending`."""
    ordered = sorted(((count, word) for word, count in counts.items() if count), key=lambda each: (-each[0], each[1]))
    return ", ".join(f"{count} {word.replace('_', ' ')}" for count, word in ordered)
