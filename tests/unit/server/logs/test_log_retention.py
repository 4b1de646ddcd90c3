"""Which logs go, and in which order."""

from __future__ import annotations

from gamenode_server.logs.retention import DAY, Ended, LogRetention, RunLogs, choose

NOW = 200 * DAY
POLICY = LogRetention(age=30 * DAY, failed_age=90 * DAY, total=1000)


def _ended(days_ago: float, *, failed: bool = False) -> Ended:
    return Ended(NOW - days_ago * DAY, failed)


def _choose(sizes: dict[str, int], ended: dict[str, Ended], live: set[str] | None = None) -> list[str]:
    usage = [RunLogs(run_id, size, changed_at=NOW - 10 * DAY) for run_id, size in sizes.items()]
    return choose(usage, ended, frozenset(live or ()), POLICY, NOW)


def test_old_ones_go_and_failed_ones_later() -> None:
    ended = {
        "old": _ended(31),
        "young": _ended(29),
        "failed": _ended(31, failed=True),
        "older": _ended(91, failed=True),
    }
    assert _choose(dict.fromkeys(ended, 1), ended) == ["old", "older"]


def test_over_the_limit_the_oldest_go_first_and_failed_ones_last() -> None:
    ended = {"a": _ended(5), "b": _ended(20), "c": _ended(10), "failed": _ended(25, failed=True)}
    assert _choose(dict.fromkeys(ended, 250), ended) == []
    assert _choose(dict.fromkeys(ended, 300), ended) == ["b"]
    assert _choose(dict.fromkeys(ended, 500), ended) == ["b", "c"]
    assert _choose({"a": 100, "b": 100, "c": 100, "failed": 5000}, ended) == ["b", "c", "a", "failed"]


def test_what_is_too_old_counts_no_more() -> None:
    ended = {"old": _ended(40), "young": _ended(5)}
    assert _choose({"old": 5000, "young": 900}, ended) == ["old"]


def test_live_runs_keep_theirs_and_unknown_ones_go_by_their_files() -> None:
    assert _choose({"live": 5000, "done": 10}, {"done": _ended(1)}, {"live"}) == ["done"]
    assert _choose({"unknown": 10}, {}) == []
    old = [RunLogs("unknown", 10, changed_at=NOW - 31 * DAY)]
    assert choose(old, {}, frozenset(), POLICY, NOW) == ["unknown"]
