"""`gamenode schedule` as a user has it, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from support.cluster import running_cluster

TEXT = (
    "pipeline: nightly\ntargets: {select: role=game}\nschedule: {cron: '0 4 * * *', timezone: Asia/Tokyo}\n"
    "steps:\n  - {id: a, run: 'true'}\n"
)


async def test_schedules_are_listed_foretold_and_held_up(tmp_path: Path) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text(TEXT)
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        assert await cluster.cli("schedule", "ls") == ""
        await cluster.cli("pipeline", "apply", str(file))
        (line,) = (await cluster.cli("schedule", "ls", "--no-headers")).splitlines()
        assert line.split()[:2] == ["nightly/default", "active"]
        assert "Asia/Tokyo" in line
        times = (await cluster.cli("schedule", "next", "nightly", "-n", "3")).splitlines()
        assert len(times) == 3
        assert all("T19:00:00" in time and time.endswith("Z  nightly/default") for time in times), (
            "four in Tokyo, in UTC"
        )

        assert await cluster.cli("schedule", "pause", "nightly", "--reason", "disks") == "nightly/default: paused\n"
        (found,) = json.loads(await cluster.cli("schedule", "ls", "-o", "json"))
        assert (found["state"], found["paused_reason"], found["next"]) == ("paused", "disks", [])
        assert await cluster.cli("schedule", "next", "nightly") == "nightly/default: paused, so never\n"
        assert await cluster.cli("schedule", "resume", "nightly/default") == "nightly/default: active\n"
        await cluster.cli("schedule", "pause", "nope", code=3)
        events = [json.loads(line)["type"] for line in (await cluster.cli("events", "-o", "jsonl")).splitlines()]
        assert [type for type in events if type.startswith("schedule.")] == ["schedule.paused", "schedule.resumed"]
