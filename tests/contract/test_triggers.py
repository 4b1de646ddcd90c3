"""Pipelines that start because something happened, on a real server with a real agent."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from support.cluster import Cluster, running_cluster
from support.waiting import until

FIRST = """\
pipeline: first
steps: [{id: work, run: exit 3}]
"""
ANSWER = """\
pipeline: answer
params: {why: {}}
on:
  - event: task.failed
    pipeline: first
    select: role=game
    params: {why: "${{ event.data.error }} of ${{ event.run }}"}
steps: [{id: tell, run: 'echo "why=${{ params.why }}"'}]
"""


async def _runs(cluster: Cluster, pipeline: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await cluster.cli("run", "ls", "--pipeline", pipeline, "-o", "json"))
    return found


async def test_a_failure_starts_another_pipeline_once_where_it_happened(tmp_path: Path) -> None:
    files = tmp_path / "p.yaml"
    files.write_text(FIRST + "---\n" + ANSWER)
    async with running_cluster(tmp_path / "c", agents=["eu-1", "eu-2"]) as cluster:
        await cluster.cli("pipeline", "apply", str(files))
        failed = json.loads(
            await cluster.cli("pipeline", "run", "first", "--node", "eu-2", "--wait", "-o", "json", code=1)
        )
        (run,) = await until(lambda: _runs(cluster, "answer"), what="the answer to start")
        assert (run["created_by"], run["note"]) == ("trigger:answer", "because of task.failed on eu-2")
        assert run["params"] == {"why": f"step_failed of {failed['id']}"}

        async def ended() -> bool:
            return (await _runs(cluster, "answer"))[0]["state"] == "succeeded"

        await until(ended, what="the answer to end")
        shown = json.loads(await cluster.cli("run", "show", run["id"], "-o", "json"))
        assert [task["node"] for task in shown["tasks"]] == ["eu-2"]

        await cluster.server.kill(signal.SIGKILL)
        await cluster.start_server()
        await cluster.cli("pipeline", "run", "first", "--node", "eu-2", "--wait", code=1)

        async def held_back() -> bool:
            return "trigger.held_back" in await cluster.cli("events", "--type", "trigger")

        await until(held_back, what="the cooldown to hold the second one back")
        assert len(await _runs(cluster, "answer")) == 1


async def test_a_start_that_is_refused_is_told(tmp_path: Path) -> None:
    files = tmp_path / "p.yaml"
    nowhere = ANSWER.replace("steps:", "targets: {select: role=nobody}\nsteps:")
    files.write_text(FIRST + "---\n" + nowhere)
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        await cluster.cli("pipeline", "apply", str(files))
        await cluster.cli("pipeline", "run", "first", "--all", "--wait", code=1)

        async def told() -> bool:
            return "trigger.failed" in await cluster.cli("events", "--type", "trigger")

        await until(told, what="the failure to be told")
        assert "an event could not start a run of answer: " in await cluster.cli("status")


async def test_a_circle_is_refused_when_it_is_closed(tmp_path: Path) -> None:
    def pipeline(name: str, after: str) -> str:
        return (
            f"pipeline: {name}\ntargets: {{select: role=game}}\non:\n  - {{event: run.succeeded, pipeline: {after}}}\n"
            "steps: [{id: work, run: 'true'}]\n"
        )

    file = tmp_path / "p.yaml"
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        file.write_text(pipeline("one", "two") + "---\n" + pipeline("two", "three"))
        await cluster.cli("pipeline", "apply", str(file))
        file.write_text(pipeline("three", "one"))
        document = json.loads(await cluster.cli("pipeline", "apply", str(file), "-o", "json", code=2) or "{}")
        assert not document or "three → two → one → three" in json.dumps(document, ensure_ascii=False)
        assert "three" not in await cluster.cli("pipeline", "ls")
        file.write_text(pipeline("self", "self"))
        await cluster.cli("pipeline", "apply", str(file), code=2)
