"""A snapshot in Prometheus' terms: the gauges, with their names and labels. Owns no figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gamenode_proto.v1 import nodes_pb2
from gamenode_server.metrics.snapshot import HostSample, Snapshot
from gamenode_server.notifiers.standing import Standing

_Measured = Callable[[nodes_pb2.Metrics], float]
_HOST: Mapping[str, tuple[str, _Measured]] = {
    "gamenode_node_cpu_percent": ("Percent of the whole host's processors in use.", lambda m: m.cpu_percent),
    "gamenode_node_load1": ("The host's load over a minute.", lambda m: m.load1),
    "gamenode_node_memory_used_bytes": ("Memory in use on the host.", lambda m: m.memory_used),
    "gamenode_node_memory_percent": ("Memory in use on the host, of what it has.", lambda m: m.memory_percent),
    "gamenode_node_disk_used_bytes": ("Disk in use on the host.", lambda m: m.disk_used),
    "gamenode_node_disk_percent": ("Disk in use on the host, of what it has.", lambda m: m.disk_percent),
    "gamenode_node_network_receive_bytes_per_second": ("What the host receives.", lambda m: m.net_rx_bytes_per_s),
    "gamenode_node_network_transmit_bytes_per_second": ("What the host sends.", lambda m: m.net_tx_bytes_per_s),
    "gamenode_node_containers_running": ("Containers that run on the host.", lambda m: m.containers_running),
}


class Gauges(Collector):
    """Gauges of what `snapshot` answers, which may wait for the event loop; called on the thread of a scrape."""

    def __init__(self, snapshot: Callable[[], Snapshot], *, database: Path) -> None:
        self._snapshot = snapshot
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not scrape to find out the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        now = self._snapshot()
        yield InfoMetricFamily("gamenode_build", "The server's version.", {"version": now.version})
        yield _one("gamenode_start_time_seconds", "When the server started, Unix seconds.", now.started_at)
        yield _by("gamenode_nodes", "Nodes, by state.", "state", now.nodes)
        yield _by("gamenode_nodes_by_admin_state", "Nodes, by what operators decided.", "admin_state", now.admin)
        yield _by("gamenode_runs", "Runs that have not ended, by state.", "state", now.runs)
        yield _by(
            "gamenode_tasks", "Tasks of these runs, by state; `pending` ones wait to be given out.", "state", now.tasks
        )
        yield _one("gamenode_agent_sessions", "Agents that are connected.", now.sessions)
        yield _one(
            "gamenode_operators", "Operators with a call that is being served: consoles, clients.", now.operators
        )
        yield _one("gamenode_operator_calls", "Calls of operators that are being served.", now.operator_calls)
        yield _one("gamenode_store_ok", "1 where the store can store.", now.store_ok)
        yield _one("gamenode_store_bytes", "What the database takes on the disk.", self._store_bytes())
        yield CounterMetricFamily("gamenode_log_bytes", "Bytes of logs that agents sent.", now.log_bytes)
        yield _one("gamenode_nodes_left_out", "Nodes that are not named below: there are too many.", now.hosts_left_out)
        yield from _notifiers(now.notifiers)
        yield from _hosts(now)

    def _store_bytes(self) -> int:
        total = 0
        for suffix in ("", "-wal"):
            try:
                total += self._database.with_name(self._database.name + suffix).stat().st_size
            except FileNotFoundError:  # there is no log of writes after a clean stop
                continue
        return total


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, float(value))


def _by(name: str, text: str, label: str, counts: Mapping[Any, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, count in counts.items():
        family.add_metric([str(word)], count)
    return family


def _notifiers(standings: Mapping[str, Standing]) -> Iterator[Metric]:
    queue = GaugeMetricFamily("gamenode_notifier_queue", "Messages that wait to be told.", labels=["notifier"])
    failing = GaugeMetricFamily("gamenode_notifier_failing", "1 where nothing is delivered.", labels=["notifier"])
    total = CounterMetricFamily(
        "gamenode_notifications", "Events by what came of them.", labels=["notifier", "outcome"]
    )
    for name, now in standings.items():
        queue.add_metric([name], now.queued)
        failing.add_metric([name], float(bool(now.failing_since)))
        for outcome in ("sent", "failed", "dropped", "deduplicated", "silenced"):
            total.add_metric([name, outcome], getattr(now, outcome))
    yield from (queue, failing, total)


def _hosts(now: Snapshot) -> Iterator[Metric]:
    yield _of_hosts("gamenode_node_up", "1 where the node is online.", now.hosts, lambda host: host.up)
    yield _of_hosts("gamenode_node_tasks", "Tasks that hold a slot of the node.", now.hosts, lambda host: host.tasks)
    connected = [host for host in now.hosts if host.measured is not None]
    for name, (text, measured) in _HOST.items():
        yield _of_hosts(name, text, connected, partial(_measured, measured))


def _measured(figure: _Measured, host: HostSample) -> float:
    assert host.measured is not None
    return figure(host.measured)


def _of_hosts(
    name: str, text: str, hosts: Iterable[HostSample], value: Callable[[HostSample], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["node"])
    for host in hosts:
        family.add_metric([host.name], float(value(host)))
    return family
