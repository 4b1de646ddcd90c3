"""Metrics without a server: what is counted, what a snapshot becomes, and a door that holds against its clients."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import AdminState, NodeState, RunState, TaskState
from gamenode_proto.process.settings import load
from gamenode_proto.v1 import nodes_pb2, work_pb2
from gamenode_server.config import ServerSettings
from gamenode_server.metrics import counting, serving
from gamenode_server.metrics.gauges import Gauges
from gamenode_server.metrics.snapshot import HostSample, Snapshot
from gamenode_server.notifiers.standing import Standing
from support.waiting import until


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def event(kind: str, **fields: Any) -> work_pb2.Event:
    return work_pb2.Event(type=kind, **fields)


# --- counting --------------------------------------------------------------------------------------------------------


def test_ends_are_counted_by_kind_and_outcome_and_nothing_else_is() -> None:
    registry = CollectorRegistry()
    kinds = {("run1", "pull"): "container.pull"}
    counts = counting.Counting(registry, kind_of=lambda run, step: kinds.get((run, step), ""), now=Clock().now)
    counts.count(
        [
            event("step.started", run_id="run1", step_id="pull"),
            event("step.attempt_failed", run_id="run1", step_id="pull"),
            event("step.succeeded", run_id="run1", step_id="pull"),
            event("step.failed", run_id="gone", step_id="x"),
            event("run.failed", run_id="run1"),
            event("run.paused", run_id="run1"),
        ]
    )
    steps = "gamenode_steps_ended_total"
    assert value(registry, steps, kind="container.pull", outcome="succeeded") == 1
    assert value(registry, steps, kind="unknown", outcome="failed") == 1
    assert value(registry, "gamenode_runs_ended_total", outcome="failed") == 1
    assert value(registry, "gamenode_runs_ended_total", outcome="succeeded") == 0
    assert value(registry, "gamenode_runs_ended_total", outcome="paused") is None


def test_dispatch_is_timed_from_the_assignment_to_its_acceptance_by_fence() -> None:
    registry, clock = CollectorRegistry(), Clock()
    counts = counting.Counting(registry, kind_of=lambda run, step: "", now=clock.now)
    counts.count([event("task.assigned", task_id="t", fence=1), event("task.assigned", task_id="t", fence=2)])
    clock.time += 0.2
    counts.count([event("task.accepted", task_id="t", fence=2), event("task.accepted", task_id="other", fence=1)])
    assert value(registry, "gamenode_dispatch_seconds_count") == 1
    assert value(registry, "gamenode_dispatch_seconds_sum") == pytest.approx(0.2)


def test_assignments_that_nobody_accepts_take_no_room_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_PENDING", 3)
    registry = CollectorRegistry()
    counts = counting.Counting(registry, kind_of=lambda run, step: "", now=Clock().now)
    counts.count(event("task.assigned", task_id=f"t{n}", fence=1) for n in range(5))
    counts.count(event("task.accepted", task_id=f"t{n}", fence=1) for n in range(5))
    assert value(registry, "gamenode_dispatch_seconds_count") == 3


# --- gauges ----------------------------------------------------------------------------------------------------------


def a_snapshot(*hosts: HostSample, left_out: int = 0) -> Snapshot:
    return Snapshot(
        version="1.2",
        started_at=5.0,
        nodes={NodeState.ONLINE: 2, NodeState.OFFLINE: 0},
        admin={AdminState.ACTIVE: 2},
        runs={RunState.RUNNING: 1},
        tasks={TaskState.PENDING: 7},
        sessions=2,
        operators=1,
        operator_calls=3,
        store_ok=False,
        log_bytes=99,
        hosts=hosts,
        hosts_left_out=left_out,
        notifiers={"chat": Standing(queued=4, sent=9, failing_since=1.0)},
    )


def test_a_snapshot_has_every_state_as_a_series_also_at_nought(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"12345")
    (tmp_path / "x.db-wal").write_bytes(b"123")
    registry = CollectorRegistry()
    hosts = (
        HostSample("eu-1", True, 2, nodes_pb2.Metrics(cpu_percent=12.5, memory_used=1 << 40)),
        HostSample('hostile"\\\nname', False, 0, None),
    )
    registry.register(Gauges(lambda: a_snapshot(*hosts), database=tmp_path / "x.db"))
    assert value(registry, "gamenode_nodes", state="online") == 2
    assert value(registry, "gamenode_nodes", state="offline") == 0
    assert value(registry, "gamenode_tasks", state="pending") == 7
    assert value(registry, "gamenode_store_ok") == 0
    assert value(registry, "gamenode_store_bytes") == 8
    assert value(registry, "gamenode_log_bytes_total") == 99
    assert value(registry, "gamenode_notifier_queue", notifier="chat") == 4
    assert value(registry, "gamenode_notifier_failing", notifier="chat") == 1
    assert value(registry, "gamenode_notifications_total", notifier="chat", outcome="sent") == 9
    assert value(registry, "gamenode_node_cpu_percent", node="eu-1") == 12.5
    assert value(registry, "gamenode_node_memory_used_bytes", node="eu-1") == 1 << 40
    assert value(registry, "gamenode_node_up", node='hostile"\\\nname') == 0
    assert value(registry, "gamenode_node_cpu_percent", node='hostile"\\\nname') is None


# --- the door --------------------------------------------------------------------------------------------------------


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[tuple[str, int]]:
    with serving.metrics_server("127.0.0.1:0", registry) as address:
        host, _, port = address.rpartition(":")
        yield host, int(port)


def get(where: tuple[str, int], path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(*where, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_only_metrics_are_served_and_only_read(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Gauges(a_snapshot, database=tmp_path / "none"))
    with served(registry) as where:
        status, text = get(where, "/metrics")
        assert status == 200
        assert samples(text)[("gamenode_agent_sessions", ())] == 2
        assert get(where, "/")[0] == get(where, "/../etc/passwd")[0] == 404
        assert get(where, "/metrics", "POST")[0] == 405


def test_a_server_that_cannot_tell_says_so(tmp_path: Path) -> None:
    def busy() -> Snapshot:
        raise TimeoutError

    registry = CollectorRegistry()
    registry.register(Gauges(busy, database=tmp_path / "none"))
    with served(registry) as where:
        assert get(where, "/metrics")[0] == 503


def serving_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


async def test_clients_that_say_nothing_have_only_so_many_places(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(Gauges(a_snapshot, database=tmp_path / "none"))
    with served(registry) as where:
        slow = [socket.create_connection(where, timeout=10) for _ in range(serving.MOST_CONNECTIONS)]
        await until(lambda: serving_threads() >= len(slow), seconds=serving.PATIENCE)
        with socket.create_connection(where, timeout=10) as one_more:
            assert one_more.recv(1) == b""
        for connection in slow:
            connection.close()
        await until(lambda: not serving_threads())
        assert (await asyncio.to_thread(get, where, "/metrics"))[0] == 200


async def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    registry = CollectorRegistry()
    registry.register(Gauges(a_snapshot, database=tmp_path / "none"))
    with served(registry) as where, socket.create_connection(where, timeout=20) as slow:
        slow.sendall(b"GET /met")
        assert await asyncio.to_thread(slow.recv, 1) == b""
    await until(lambda: not serving_threads())


def test_an_address_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(
                GameNodeError, match=f"--metrics-listen: cannot listen on {address}: Address already"
            ) as error,
            serving.metrics_server(address, CollectorRegistry()),
        ):
            pass
    assert error.value.code is Code.STATE_CONFLICT


@pytest.mark.parametrize(
    ("given", "meant"),
    [("9464", "127.0.0.1:9464"), (":9464", "127.0.0.1:9464"), ("0.0.0.0:1", "0.0.0.0:1"), ("[::1]:0", "[::1]:0")],
)
def test_a_bare_port_is_on_loopback(given: str, meant: str) -> None:
    assert load(ServerSettings, flags={"metrics_listen": given}).metrics_listen == meant


@pytest.mark.parametrize("given", ["99999", "host", "host:", "http://x:1"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(GameNodeError, match="metrics-listen"):
        load(ServerSettings, flags={"metrics_listen": given})
