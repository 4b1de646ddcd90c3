"""`pipeline run --dry-run`: the whole plan, and nothing stored."""

from __future__ import annotations

import json
from pathlib import Path

from support.cluster import running_cluster, settled, start_run

TEXT = """\
pipeline: shown
params: {map: {default: oa_dm1}}
rollout: {canary: 1, max_parallel: 1}
approval: {message: "now?"}
concurrency: {group: "x-${{ node.name }}"}
requires: {memory: 1g}
steps:
  - {id: tell, run: 'echo "${{ params.map }} on ${{ node.name }}"'}
  - {id: only, if: '${{ node.name == "eu-1" }}', run: "true"}
"""
HOLDER = """\
pipeline: holder
concurrency: {group: "x-${{ node.name }}"}
requires: {memory: 1000g}
steps: [{id: work, run: sleep 60}]
"""


async def test_it_shows_nodes_order_waits_commands_and_the_usual_time(tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(TEXT)
    async with (
        running_cluster(tmp_path / "c", agents=["eu-1", "eu-2", "eu-3"]) as cluster,
        cluster.gateway() as gateway,
    ):
        holder = await start_run(gateway, HOLDER.replace("1000g", "1m"), nodes=["eu-2"])
        said = await cluster.cli("pipeline", "run", str(file), "--all", "--dry-run")
        assert "would run shown on 3 of 3 nodes: tell, only\n" in said
        assert "it waits for the approval of an operator: now?\n" in said
        assert f"it waits: run {holder.run.id} has group 'x-eu-2' with its task on eu-2\n" in said
        assert "nodes canary eu-1 → eu-2 → eu-3\n" in said
        assert "only  run    (skipped on eu-2 and eu-3)\n" in said
        assert "    GAMENODE_EXPR_2=eu-1\n" in said
        document = json.loads(await cluster.cli("pipeline", "run", str(file), "--all", "--dry-run", "-o", "json"))
        assert (document["order"], document["rollout"]["canary"], document["usual_seconds"]) == (
            ["eu-1", "eu-2", "eu-3"],
            1,
            None,
        )
        runs = json.loads(await cluster.cli("run", "ls", "-o", "json"))
        assert [run["id"] for run in runs] == [holder.run.id]
        await gateway.pipelines.cancel([holder.run.id])
        await settled(gateway, holder.run.id)

        await cluster.cli("pipeline", "run", "hello", "--node", "eu-1", "--wait")
        assert "by the last 1 that succeeded" in await cluster.cli("pipeline", "run", "hello", "--all", "--dry-run")


async def test_memory_that_is_promised_is_not_promised_again(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        node = json.loads(await cluster.cli("node", "show", "eu-1", "-o", "json"))
        file = tmp_path / "holder.yaml"
        total = node["resources"]["memory_total"]
        file.write_text(HOLDER.replace("1000g", str(int(total * 0.4))).replace("x-${{ node.name }}", "y-${{ run.id }}"))
        first = json.loads(await cluster.cli("pipeline", "run", str(file), "--all", "-o", "json"))
        second = await cluster.cli("pipeline", "run", str(file), "--all", "-o", "json", code=None)
        third = await cluster.cli("pipeline", "run", str(file), "--all", "-o", "json", code=6)
        assert third == ""
        ids = [first["id"], *([json.loads(second)["id"]] if second else [])]
        await gateway.pipelines.cancel(ids, force=True)
        for run_id in ids:
            await settled(gateway, run_id)
        await cluster.cli("pipeline", "run", str(file), "--all", "--dry-run")
