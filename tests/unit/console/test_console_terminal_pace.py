"""How often is drawn, over links that keep up and links that do not."""

from __future__ import annotations

from gamenode_console.terminal.pace import Pace


def test_it_goes_slower_while_frames_are_skipped_and_comes_back() -> None:
    pace, rates = Pace(10.0), []
    for now in range(10):
        if now < 4:
            pace.skip()
        rates.append(pace.beat(float(now)))
    assert rates == [4.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 10.0, 10.0, 10.0]


def test_what_was_wanted_is_never_exceeded() -> None:
    pace = Pace(2.0)
    pace.skip()
    assert pace.beat(0.0) == 2.0
    pace.skip()
    assert pace.beat(1.0) == 1.0
    pace.wanted = 0.5
    assert pace.rate == 0.5


def test_it_is_told_while_it_matters_and_a_little_longer() -> None:
    pace = Pace(10.0)
    assert pace.said(0.0) == ""
    for _ in range(3):
        pace.skip()
    pace.beat(0.0)
    pace.skip()
    pace.beat(1.0)
    assert pace.said(1.0) == "link slow, 4 skipped, 1/s"
    assert pace.beat(3.0) == 4.0
    assert pace.beat(5.0) == 10.0
    assert pace.said(10.9) == "link slow, 4 skipped, 10/s"
    assert pace.said(11.0) == ""
    pace.skip()
    pace.beat(20.0)
    assert pace.said(20.0).startswith("link slow, 1 skipped"), "what was before is over"
