"""`pipeline history|diff|rm` as a user has them, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from support.cluster import running_cluster

TEXT = "pipeline: good\ndescription: fine\nsteps:\n  - {id: a, run: 'true'}\n"


async def test_what_changed_is_shown_and_what_is_not_wanted_is_taken_out_of_use(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(TEXT)
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        await cluster.cli("pipeline", "apply", str(file))
        assert await cluster.cli("pipeline", "diff", "good", str(file), "-o", "json") != ""
        file.write_text(TEXT.replace("fine", "better") + "---\npipeline: other\nsteps:\n  - {id: b, run: 'true'}\n")
        lines = (await cluster.cli("pipeline", "diff", "good", str(file), code=1)).splitlines()
        assert lines[:2] == ["--- good v1", f"+++ {file}"]
        assert [line for line in lines[2:] if line[0] in "+-"] == ["-description: fine", "+description: better"]

        await cluster.cli("pipeline", "apply", str(file))
        found = json.loads(await cluster.cli("pipeline", "diff", "good", "-o", "json", code=1))
        assert (found["from"], found["to"], found["differ"]) == ("v1", "good v2", True)
        await cluster.cli("pipeline", "diff", "good", "--version", "2", "--to", "2")
        assert "@@" in await cluster.cli("pipeline", "diff", "other", code=1), "the first version is all new"
        await cluster.cli("pipeline", "diff", "hello", str(file), code=2)

        await cluster.cli("pipeline", "rm", "good", code=2)
        await cluster.cli("pipeline", "rm", "good", "--dry-run")
        await cluster.cli("pipeline", "rm", "good", "--yes", "--reason", "nobody uses it")
        await cluster.cli("pipeline", "show", "good", code=3)
        history = json.loads(await cluster.cli("pipeline", "history", "good", "-o", "json"))
        assert [(version["version"], version["removed"]) for version in history] == [(3, True), (2, False), (1, False)]
        assert "removed" in await cluster.cli("pipeline", "history", "good")
        assert "good" not in (await cluster.cli("pipeline", "ls", "-o", "name")).split()
        audited = await cluster.cli("audit", "ls", "-o", "jsonl")
        assert any("RemovePipelines" in line and "nobody uses it" in line for line in audited.splitlines())
