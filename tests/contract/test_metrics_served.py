"""The metrics of a real server with an agent, and what is written about them: dashboard, page and rules."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from support.cluster import running_cluster
from support.waiting import until

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\b(?:gamenode|process)_[a-z0-9_]+\b")


def scrape(address: str) -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    assert "gn1." not in text
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_run_shows_in_the_metrics_and_everything_written_about_them_exists(tmp_path: Path) -> None:
    config = tmp_path / "gamenode.yaml"
    config.write_text("server: {notifiers: [{name: log, type: command, command: [/bin/true], events: run.succeeded}]}")
    env = {"GAMENODE_METRICS_LISTEN": "0", "GAMENODE_CONFIG": str(config)}
    async with running_cluster(tmp_path, agents=["eu-1"], env=env) as cluster:
        address = cluster.server_file["metrics_listen"]
        assert address.startswith("127.0.0.1:")
        await cluster.cli("pipeline", "run", "hello", "--node", "eu-1", "--wait")

        async def counted() -> bool:
            found = await asyncio.to_thread(scrape, address)
            told = found[("gamenode_notifications_total", "notifier=log,outcome=sent")]
            return ("gamenode_node_cpu_percent", "node=eu-1") in found and told == 1

        await until(counted)
        found = await asyncio.to_thread(scrape, address)
    assert found[("gamenode_nodes", "state=online")] == found[("gamenode_agent_sessions", "")] == 1
    assert found[("gamenode_node_up", "node=eu-1")] == 1
    assert found[("gamenode_runs_ended_total", "outcome=succeeded")] == 1
    assert found[("gamenode_runs", "state=running")] == found[("gamenode_tasks", "state=pending")] == 0
    assert found[("gamenode_steps_ended_total", "kind=run,outcome=succeeded")] >= 1
    assert found[("gamenode_dispatch_seconds_count", "")] == 1
    assert found[("gamenode_store_commit_seconds_count", "")] > 1
    assert found[("gamenode_store_bytes", "")] > 0
    assert found[("gamenode_store_ok", "")] == 1
    assert found[("gamenode_log_bytes_total", "")] > 0

    names = {name for name, _ in found}
    dashboard = json.loads((DOCS / "grafana" / "gamenode.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in dashboard["templating"]["list"]]
    asked = {name for query in queries for name in NAME.findall(query)}
    page = (DOCS / "monitoring.md").read_text()
    said = set(NAME.findall(page))
    assert asked <= names
    # Histograms are called by their family.
    assert {name for name in said if name not in names and f"{name}_count" not in names} == set()
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in names if name.startswith("gamenode_")} <= said


async def test_nobody_serves_metrics_until_told(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=[]) as cluster:
        assert cluster.server_file["metrics_listen"] is None


async def test_nodes_beyond_the_limit_are_counted_and_not_named(tmp_path: Path) -> None:
    env = {"GAMENODE_METRICS_LISTEN": "0", "GAMENODE_METRICS_NODES": "0"}
    async with running_cluster(tmp_path, agents=["eu-1"], env=env) as cluster:
        found = await asyncio.to_thread(scrape, cluster.server_file["metrics_listen"])
    assert found[("gamenode_nodes", "state=online")] == found[("gamenode_nodes_left_out", "")] == 1
    assert not [name for name, labels in found if "node=" in labels]
