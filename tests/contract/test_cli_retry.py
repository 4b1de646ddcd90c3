"""`run retry` and `node cordon` as a process: against a control server that notes what it is asked, and a real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunPipelineResponse, RunUpdate
from gamenode_proto.v1.state_management_pb2 import SetNodeAdminStateResponse
from support.cluster import running_cluster
from support.control_messages import a_node, a_run, a_run_document
from support.fake_control import FakeControl, fake_control


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path) as fake:
        document = a_run_document()
        document.run.retry_of = "runbbbbbbbbb"
        fake.answers["RetryRun"] = RunPipelineResponse(run=document)
        fake.answers["GetRun"] = document
        fake.answers["SetNodeAdminState"] = lambda request: SetNodeAdminStateResponse(
            nodes=[named(name, request.state) for name in request.nodes]
        )
        yield fake


def named(name: str, state: int) -> object:
    node = a_node(name)
    node.admin_state = common_pb2.AdminState.ValueType(state)
    return node


async def test_a_retry_is_asked_for_with_an_id_of_its_own(fake: FakeControl) -> None:
    code, out, _ = await fake.cli("run", "retry", "runb", "--failed-only", "--latest", "--note", "again")
    assert (code, out.decode()) == (0, "run runaaaaaaaaa started on 1 nodes\n")
    code, out, _ = await fake.cli("run", "retry", "runb", "-o", "json", "--request-id", "mine", "-y")
    assert (code, json.loads(out)["retry_of"]) == (0, "runbbbbbbbbb")
    first, second = fake.requests("RetryRun")
    assert (first.run, first.failed_only, first.latest, first.note, len(first.request_id)) == (
        "runb",
        True,
        True,
        "again",
        24,
    )
    assert (second.failed_only, second.latest, second.request_id) == (False, False, "mine")


@pytest.mark.parametrize(("state", "code"), [(common_pb2.RUN_STATE_SUCCEEDED, 0), (common_pb2.RUN_STATE_FAILED, 1)])
async def test_a_retry_that_is_waited_for_ends_with_its_outcome(fake: FakeControl, state: int, code: int) -> None:
    fake.answers["WatchRun"] = [RunUpdate(run=a_run(state=state), ended=True)]
    found, out, err = await fake.cli("run", "retry", "runb", "--wait")
    assert (found, out, err.startswith("run runaaaaaaaaa\n")) == (code, b"", True)


async def test_what_cannot_be_retried_is_exit_6(fake: FakeControl) -> None:
    fake.answers["RetryRun"] = GameNodeError(Code.STATE_CONFLICT, "run runb is running")
    code, out, err = await fake.cli("run", "retry", "runb")
    assert (code, out, err) == (6, b"", "gamenode: run runb is running\n")
    code, _, err = await fake.cli("run", "retry", "runb", "--timeout", "3s")
    assert (code, "give --wait or --follow too" in err) == (2, True)


async def test_run_show_says_what_it_repeats(fake: FakeControl) -> None:
    _, out, _ = await fake.cli("run", "show", "runa")
    assert ["Retry", "of", "runbbbbbbbbb"] in [line.replace(":", "").split() for line in out.decode().splitlines()]


@pytest.mark.parametrize(
    ("word", "state"), [("cordon", "cordoned"), ("uncordon", "active"), ("disable", "disabled"), ("enable", "active")]
)
async def test_nodes_are_put_into_a_state_together(fake: FakeControl, word: str, state: str) -> None:
    code, out, err = await fake.cli("node", word, "game-1", "game-2", "--reason", "disks")
    assert (code, out.decode(), err) == (0, f"game-1: {state}\ngame-2: {state}\n", "")
    _, out, _ = await fake.cli("node", word, "game-1", "-o", "json")
    assert [node["admin_state"] for node in json.loads(out)] == [state]
    (asked, _) = fake.requests("SetNodeAdminState")
    assert (list(asked.nodes), asked.reason) == (["game-1", "game-2"], "disks")
    assert asked.state == common_pb2.AdminState.Value(f"ADMIN_STATE_{state.upper()}")


async def test_a_file_that_failed_on_one_node_is_retried_there(tmp_path: Path) -> None:
    """With a server and agents: what failed on one node runs there again, unless the node is cordoned."""
    (tmp_path / "once.yaml").write_text(
        "pipeline: once\nsteps:\n  - id: a\n"
        f"    run: '[ \"${{{{ node.name }}}}\" = game-1 ] || [ -e {tmp_path}/mended ] || exit 3'\n"
    )
    async with running_cluster(tmp_path / "c", agents=["game-1", "game-2"]) as cluster:
        out = await cluster.cli("pipeline", "run", str(tmp_path / "once.yaml"), "--all", "--wait", "-o", "json", code=1)
        old = json.loads(out)["id"]
        (tmp_path / "mended").touch()
        await cluster.cli("node", "cordon", "game-2", "--reason", "disks")
        assert "online,cordoned" in await cluster.cli("node", "ls", "--no-headers")
        await cluster.cli("run", "retry", old, "--failed-only", code=6)
        await cluster.cli("node", "uncordon", "game-2")
        new = json.loads(await cluster.cli("run", "retry", old, "--failed-only", "--wait", "-o", "json"))
        assert (new["retry_of"], new["state"], [task["node"] for task in new["tasks"]]) == (
            old,
            "succeeded",
            ["game-2"],
        )
        await cluster.cli("node", "disable", "game-1")
        await cluster.cli("run", "retry", old, code=6)
        events = await cluster.cli("events", "--type", "node", "-o", "jsonl")
        types = [json.loads(line)["type"] for line in events.splitlines()]
        assert [word for word in types if word in ("node.cordoned", "node.uncordoned", "node.disabled")] == [
            "node.cordoned",
            "node.uncordoned",
            "node.disabled",
        ]
