"""What the head line says: parts of text with the word for their style, cut to the width. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from gamenode_console import texts
from gamenode_console.model.world import Link, LinkState, World

Part = tuple[str, str]
#: States of nodes and runs that are told in the head line, worst first.
_NODE_STATES = ("quarantined", "offline", "suspect", "online")
_RUN_STATES = ("needs_attention", "waiting", "cancelling", "running")


def headline(world: World, *, view: str, now: float, width: int, notes: Sequence[Part], utf8: bool) -> list[Part]:
    """The parts from left to right: the product and the view, the server, counts; at the right notes and the time.

    What does not fit goes from the middle: the counts of runs first, then those of nodes.
    """
    link = world.link
    front: list[Part] = [(" GameNode ", "brand"), (f" {texts.one_line(view)} ", "title")]
    front.append(_server(link, now, utf8=utf8))
    clock: list[Part] = [*notes, (f" {texts.clock_time(now)[11:19]}Z ", "dim")]
    middle = [*_counts(world, _NODE_STATES, "node"), *_counts(world, _RUN_STATES, "run")]
    room = width - _length(front) - _length(clock)
    while middle and _length(middle) > room:
        middle.pop()
    gap = width - _length(front) - _length(middle) - _length(clock)
    if gap < 0:  # a terminal as narrow as that is told where one is, and how the link is
        return _cut([*front, *notes], width)
    return [*front, *middle, (" " * gap, ""), *clock]


def _server(link: Link, now: float, *, utf8: bool) -> Part:
    age = texts.span(max(0.0, now - link.since)) if link.since else ""
    match link.state:
        case LinkState.LIVE:
            who = "embedded" if link.embedded else "attached"
            return f"{'●' if utf8 else '*'} {who} ", "good"
        case LinkState.CONNECTING:
            return f"{'○' if utf8 else 'o'} {link.text} ", "warn"
        case LinkState.LOST:
            return f"{'✗' if utf8 else 'x'} server lost {age}, trying again ", "bad"


def _counts(world: World, states: Sequence[str], what: str) -> list[Part]:
    status = world.status
    if status is None:
        return []
    counts = status.nodes_by_state if what == "node" else status.runs_by_state
    if not counts and what == "node":
        return [(" no nodes ", "dim")]
    return [(f" {count} {state.replace('_', ' ')}", state) for state in states if (count := counts.get(state, 0))]


def _length(parts: Sequence[Part]) -> int:
    return sum(cell_len(text) for text, _ in parts)


def _cut(parts: Sequence[Part], width: int) -> list[Part]:
    found: list[Part] = []
    for text, style in parts:
        room = width - _length(found)
        if room <= 0:
            break
        found.append((text if cell_len(text) <= room else set_cell_size(text, room), style))
    return found
