"""A run of ten steps over 200 nodes is shown, watched and counted without lag; the nodes are fake, all else is real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from support import many_nodes as many


@pytest.mark.timeout(180)
async def test_two_hundred_nodes_are_answered_for_in_under_a_second(tmp_path: Path) -> None:
    await asyncio.to_thread(_told, tmp_path)


def _told(folder: Path) -> None:
    with many.served(folder, seconds=0.3) as data_dir:
        run = many.started(folder, data_dir)
        shown, bare = [], []
        for _ in range(3):
            bare.append(many.cli(folder, data_dir, "version")[1])
            out, took = many.cli(folder, data_dir, "run", "show", run, "-o", "json")
            shown.append(took)
            document = json.loads(out)
            assert len(document["tasks"]) == many.NODES
            assert {len(task["steps"]) for task in document["tasks"]} == {many.STEPS}
        # Beyond what any command takes to start, on a machine that does other things as well.
        assert min(shown) - min(bare) < 1.0, (shown, bare)
        assert many.watched(folder, data_dir, run) < 2.0
        ended = json.loads(many.cli(folder, data_dir, "run", "show", run, "-o", "json")[0])
        assert ended["counts"] == {"succeeded": many.NODES}
        states = {step["state"] for task in ended["tasks"] for step in task["steps"]}
        assert states == {"succeeded"}
        assert all(step["log"]["complete"] for task in ended["tasks"] for step in task["steps"])
