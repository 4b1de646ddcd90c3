"""Whether a node is there: by its silence, never by anybody's clock."""

from __future__ import annotations

import pytest

from gamenode_pipelines.states import NodeState
from gamenode_server.intervals import Intervals
from gamenode_server.presence import CloneWatch, Presence, due

INTERVALS = Intervals(suspect=20.0, offline=60.0)
ONLINE, SUSPECT, OFFLINE = NodeState.ONLINE, NodeState.SUSPECT, NodeState.OFFLINE


@pytest.mark.parametrize(
    ("state", "connected", "silent", "expected"),
    [
        (ONLINE, True, 0.0, None),
        (ONLINE, True, 19.9, None),
        (ONLINE, True, 20.0, SUSPECT),
        (ONLINE, False, 5.0, None),
        (ONLINE, False, 20.0, SUSPECT),
        (ONLINE, False, 500.0, SUSPECT),
        (SUSPECT, False, 59.9, None),
        (SUSPECT, False, 60.0, OFFLINE),
        (SUSPECT, True, 3.0, ONLINE),
        (SUSPECT, False, 3.0, None),
        (OFFLINE, True, 1.0, ONLINE),
        (OFFLINE, False, 1000.0, None),
    ],
)
def test_a_state_follows_from_silence(
    state: NodeState, connected: bool, silent: float, expected: NodeState | None
) -> None:
    presence = Presence(1, state, 1000.0 - silent, connected=connected)
    assert due(presence, 1000.0, INTERVALS) is expected


def test_after_a_start_of_the_server_nobody_is_declared_offline_early() -> None:
    presence = Presence(1, SUSPECT, 0.0, not_before=180.0)
    assert due(presence, 179.0, INTERVALS) is None
    assert due(presence, 180.0, INTERVALS) is OFFLINE


def test_two_agents_that_take_the_session_from_each_other_are_noticed() -> None:
    watch = CloneWatch(limit=3)
    seen = [watch.cloned(name, float(at)) for at, name in enumerate("ABABABAB")]
    assert seen == [False, False, False, False, False, True, True, True]


def test_an_agent_that_keeps_starting_is_one_agent() -> None:
    watch = CloneWatch(limit=3)
    assert not any(watch.cloned(f"start{at}", float(at)) for at in range(100))


def test_an_agent_that_reconnects_is_one_agent() -> None:
    watch = CloneWatch(limit=3)
    assert not any(watch.cloned("A", float(at)) for at in range(100))


def test_what_was_long_ago_does_not_count() -> None:
    watch = CloneWatch(limit=3, window=60.0)
    assert not any(watch.cloned("AB"[at % 2], at * 30.0) for at in range(100))
