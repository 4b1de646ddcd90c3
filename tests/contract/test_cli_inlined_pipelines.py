"""A pipeline that names another one, from the file to the run, as a user has it."""

from __future__ import annotations

import json
from pathlib import Path

from support.cluster import running_cluster

TEXT = """\
pipeline: outer
steps:
  - id: greet
    uses: pipeline
    with: {name: hello, params: {name: "${{ node.name }}"}}
  - id: break
    uses: pipeline
    with: {name: inner}
    on_failure: [{id: tell, run: echo told}]
---
pipeline: inner
steps:
  - {id: work, run: exit 3}
finally:
  - {id: tidy, run: 'echo "tidy, ${{ task.state }}"'}
"""


async def test_it_is_checked_shown_and_run(tmp_path: Path) -> None:
    file = tmp_path / "outer.yaml"
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        file.write_text(TEXT.replace("name: hello", "name: helo"))
        await cluster.cli("pipeline", "apply", str(file), code=2)
        file.write_text(TEXT)
        await cluster.cli("pipeline", "apply", str(file))

        plan = json.loads(await cluster.cli("pipeline", "render", "outer", "-o", "json"))
        assert [step["id"] for step in plan["steps"]] == ["greet", "greet.greet", "break", "break.work", "tell"]
        assert [(each["step"], each["pipeline"], each["version"]) for each in plan["inlined"]] == [
            ("break", "inner", 1),
            ("greet", "hello", 1),
        ]
        said = await cluster.cli("pipeline", "run", "outer", "--all", "--dry-run")
        assert "step break is pipeline inner, version 1" in said

        run = json.loads(await cluster.cli("pipeline", "run", "outer", "--all", "--wait", "-o", "json", code=1))
        (task,) = run["tasks"]
        assert {step["id"]: step["state"] for step in task["steps"]} == {
            "greet": "succeeded",
            "greet.greet": "succeeded",
            "break": "failed",
            "break.work": "failed",
            "tell": "succeeded",
            "break.tidy": "succeeded",
        }
        assert task["error"]["message"] == "step 'break' failed: step 'break.work' failed: exited with 3"
        assert "Hello, eu-1!" in await cluster.cli("run", "logs", run["id"], "--step", "greet.greet")
        assert "tidy, failed" in await cluster.cli("run", "logs", run["id"], "--step", "break.tidy")
