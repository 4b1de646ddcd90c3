"""Whether a container that has ended is started again: a decision, and nothing that has to run for it."""

from __future__ import annotations

import pytest

from gamenode_agent.containers.restarting import GiveUp, LeaveBe, Policy, StartAgain, decide, parse


def test_policies_are_dockers_words() -> None:
    assert parse("always") == parse("unless-stopped") == Policy(always=True)
    assert parse("on-failure") == parse("on-failure:0") == Policy(always=False)
    assert parse("on-failure:3") == Policy(always=False, most=3)
    assert parse("no") is parse("") is parse("sometimes") is None


@pytest.mark.parametrize(
    ("policy", "failed", "crashes", "ran", "decision"),
    [
        ("always", False, 0, 1, StartAgain(1, 1)),
        ("always", True, 3, 1, StartAgain(8, 4)),
        ("always", True, 50, 1, StartAgain(60, 51)),
        ("always", True, 50, 600, StartAgain(1, 1)),
        ("on-failure", True, 0, 1, StartAgain(1, 1)),
        ("on-failure:2", True, 1, 1, StartAgain(2, 2)),
        ("on-failure:2", True, 2, 700, StartAgain(1, 1)),
    ],
)
def test_restarts_come_slower_each_time(
    policy: str, failed: bool, crashes: int, ran: float, decision: StartAgain
) -> None:
    parsed = parse(policy)
    assert parsed is not None
    assert decide(parsed, failed=failed, crashes=crashes, ran=ran) == decision


def test_some_ends_are_for_good() -> None:
    assert isinstance(decide(Policy(always=False), failed=False, crashes=0, ran=1), LeaveBe)
    gave_up = decide(Policy(always=False, most=2), failed=True, crashes=2, ran=1)
    assert gave_up == GiveUp("it was started again 2 times and failed each time")
