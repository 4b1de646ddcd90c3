"""The last hour of a host, in bounded memory."""

from __future__ import annotations

import math

import pytest

from gamenode_proto.v1 import nodes_pb2
from gamenode_server.metrics_history import MetricsHistory


def sample(cpu: float = 1.0) -> nodes_pb2.Metrics:
    return nodes_pb2.Metrics(cpu_percent=cpu, memory_used=3 << 30, processes=17)


def test_samples_come_back_oldest_first_with_the_servers_time() -> None:
    history = MetricsHistory(every=15.0)
    for number in range(3):
        assert history.add(sample(number), 100.0 + 15 * number)
    assert [s.cpu_percent for s in history.since(0)] == [0.0, 1.0, 2.0]
    assert [s.sampled_at for s in history.since(100.0)] == [115.0, 130.0]
    assert history.since(0)[0].processes == 17
    assert history.since(0)[0].memory_used == pytest.approx(3 << 30, rel=1e-6)


def test_more_often_than_wanted_is_not_kept() -> None:
    history = MetricsHistory(every=15.0)
    assert history.add(sample(), 100.0)
    assert not history.add(sample(), 114.9)
    assert len(history.since(0)) == 1


def test_the_newest_replaces_the_oldest() -> None:
    history = MetricsHistory(every=1.0, capacity=4)
    for number in range(10):
        history.add(sample(number), float(number))
    assert [s.cpu_percent for s in history.since(-1)] == [6.0, 7.0, 8.0, 9.0]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e300])
def test_what_is_no_number_does_not_get_in(bad: float) -> None:
    history = MetricsHistory(every=1.0)
    history.add(sample(bad), 1.0)
    assert history.since(0)[0].cpu_percent == 0.0
