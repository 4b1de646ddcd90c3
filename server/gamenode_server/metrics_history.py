"""The last hour of a host's metrics in memory: fixed rows of float32, so that a node costs 13 KB and never more."""

from __future__ import annotations

from array import array

from gamenode_proto.v1 import nodes_pb2

#: One hour at 15 s.
CAPACITY = 240

_FIELDS = (
    "cpu_percent",
    "load1",
    "memory_used",
    "memory_percent",
    "disk_used",
    "disk_percent",
    "net_rx_bytes_per_s",
    "net_tx_bytes_per_s",
    "processes",
    "containers_running",
    "containers_total",
)
_INTEGERS = frozenset({"memory_used", "disk_used", "processes", "containers_running", "containers_total"})
_WIDTH = len(_FIELDS)


class MetricsHistory:
    """A ring of samples, at most one per `every` seconds; the newest replaces the oldest."""

    __slots__ = ("_count", "_every", "_last", "_next", "_times", "_values")

    def __init__(self, *, every: float, capacity: int = CAPACITY) -> None:
        self._every = every
        self._times = array("d", bytes(8 * capacity))
        self._values = array("f", bytes(4 * _WIDTH * capacity))
        self._next = 0
        self._count = 0
        self._last = float("-inf")

    def add(self, sample: nodes_pb2.Metrics, now: float) -> bool:
        """Keeps a sample taken at server time `now`, unless the last one is too recent. Says whether it was kept."""
        if now - self._last < self._every:
            return False
        at = self._next * _WIDTH
        self._values[at : at + _WIDTH] = array("f", [_finite(getattr(sample, name)) for name in _FIELDS])
        self._times[self._next] = now
        self._next = (self._next + 1) % len(self._times)
        self._count = min(self._count + 1, len(self._times))
        self._last = now
        return True

    def since(self, start: float) -> list[nodes_pb2.Metrics]:
        """The samples taken after `start`, oldest first; `sampled_at` is server time."""
        size = len(self._times)
        found: list[nodes_pb2.Metrics] = []
        for index in range(self._count):
            slot = (self._next - self._count + index) % size
            if self._times[slot] <= start:
                continue
            sample = nodes_pb2.Metrics(sampled_at=self._times[slot])
            for offset, name in enumerate(_FIELDS):
                value = self._values[slot * _WIDTH + offset]
                setattr(sample, name, round(value) if name in _INTEGERS else value)
            found.append(sample)
        return found


def _finite(value: float) -> float:
    """`value` as a float32 can hold it: an agent's infinity or NaN would poison every chart."""
    number = float(value)
    return number if -3e38 < number < 3e38 else 0.0
