from __future__ import annotations

import pytest

from gamenode_proto import backoff


def test_waits_double_up_to_the_cap() -> None:
    assert [backoff.full_jitter(n, 1.0, base=0.5, cap=4.0) for n in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert backoff.full_jitter(10**9, 0.5, base=0.5, cap=4.0) == 2.0
    assert backoff.full_jitter(3, 0.0) == 0.0


def test_delays_go_on_for_ever_and_draw_anew() -> None:
    drawn = iter([0.5, 1.0, 0.25])
    waits = backoff.delays(lambda: next(drawn), base=1.0, cap=100.0)
    assert [next(waits) for _ in range(3)] == [0.5, 2.0, 1.0]


def test_a_negative_attempt_is_a_bug() -> None:
    with pytest.raises(ValueError, match="-1"):
        backoff.full_jitter(-1, 0.5)
