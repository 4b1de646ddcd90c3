"""Samples and facts of this host, the clock, and the status file."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from gamenode_agent import host
from gamenode_agent.clock import BootClock, boot_id
from gamenode_agent.identity import write_secret
from gamenode_agent.renewal import renewal_due
from gamenode_agent.status import AgentStatus, read_status, take_lock, write_status


def test_a_sample_has_every_figure(tmp_path: Path) -> None:
    metrics = host.HostMetrics(tmp_path)
    first = metrics.sample(100.0)
    time.sleep(0.05)
    sample = metrics.sample(200.0)
    assert sample.sampled_at == 200.0
    assert 0 < sample.memory_used < psutil.virtual_memory().total
    assert 0 < sample.memory_percent < 100
    assert 0 < sample.disk_percent < 100
    assert sample.processes >= 2
    assert (first.net_rx_bytes_per_s, first.net_tx_bytes_per_s) == (0.0, 0.0)
    assert sample.net_rx_bytes_per_s >= 0
    assert all(disk.total > 0 and disk.mount.startswith("/") for disk in sample.disks)


def test_a_sample_is_cheap(tmp_path: Path) -> None:
    metrics = host.HostMetrics(tmp_path)
    metrics.sample(0.0)
    best = min(_seconds(metrics) for _ in range(20))
    assert best < 0.002, "four times what it takes, for a machine that is busy"


def _seconds(metrics: host.HostMetrics) -> float:
    began = time.perf_counter()
    metrics.sample(0.0)
    return time.perf_counter() - began


def test_facts_name_the_host(tmp_path: Path) -> None:
    facts = host.facts(data_dir=tmp_path, version="1.2", slots=3)
    assert facts.resources.cpus >= 1
    assert facts.resources.disk_total > 0
    assert (facts.agent_version, facts.slots) == ("1.2", 3)
    assert not any(address.startswith("127.") for address in facts.addresses)


def test_the_clock_goes_on_by_boot_time() -> None:
    clock = BootClock.from_wall(not_before=5e9)
    now = clock.now()
    assert now >= 5e9
    again = BootClock(clock.origin)
    assert 0 <= again.now() - now < 1.0
    assert abs(BootClock.from_wall().now() - time.time()) < 1.0
    assert boot_id()


def test_the_status_is_only_believed_of_a_running_agent(tmp_path: Path) -> None:
    import os

    status = AgentStatus(os.getpid(), "1", "n", "eu-1", 1.0, 8, connected=True)
    write_status(tmp_path, status)
    assert read_status(tmp_path) is None
    with take_lock(tmp_path):
        assert read_status(tmp_path) == status
        (tmp_path / "agent.json").write_text("garbage")
        found = read_status(tmp_path)
        assert found is not None
        assert found.problem == "starting"


def test_secrets_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for text in ("one", "two"):
        write_secret(path, text)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_renewal_is_due_with_a_third_left_give_or_take_a_tenth() -> None:
    assert renewal_due((0.0, 300.0), 0.5) == 200.0
    assert renewal_due((0.0, 300.0), 0.0) == 210.0
    assert renewal_due((0.0, 300.0), 1.0) == 190.0
