"""The JSON documents that scripts rely on, from real programs: every key, and what kind of value it holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.cluster import Cluster, running_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")

Document = dict[str, Any]
#: RFC 3339 in UTC.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ID = re.compile(r"[a-z2-7]{12}")
SHA256 = re.compile(r"[0-9a-f]{64}")
NUMBER = (int, float)

#: What the contract says of each document: a kind of value, a pattern for text, a tuple of kinds, or a nested shape.
#: Documents may have more; none of this may be missing or of another kind.
LOG = {"lines": int, "bytes": int, "complete": bool, "sha256": SHA256}
STEP = {
    "id": str, "state": str, "attempt": int, "exit_code": (int, None), "error": (dict, None), "outputs": dict,
    "started_at": (TIME, None), "finished_at": (TIME, None), "log": LOG,
}  # fmt: skip
TASK = {
    "id": ID, "node_id": ID, "node": str, "state": str, "error": (dict, None), "fence": int,
    "started_at": (TIME, None), "finished_at": (TIME, None), "steps": [STEP],
}  # fmt: skip
RUN = {
    "id": ID, "pipeline": str, "version": int, "state": str, "error": (dict, None), "params": dict, "note": str,
    "created_at": TIME, "started_at": (TIME, None), "finished_at": (TIME, None), "created_by": str, "tasks": [TASK],
}  # fmt: skip
METRICS = {
    "cpu_percent": NUMBER, "load1": NUMBER, "memory_used": int, "memory_percent": NUMBER, "disk_used": int,
    "disk_percent": NUMBER, "net_rx_bytes_per_s": NUMBER, "net_tx_bytes_per_s": NUMBER, "processes": int,
    "containers_running": int, "containers_total": int, "sampled_at": TIME,
}  # fmt: skip
NODE = {
    "id": ID, "name": str, "state": str, "admin_state": str, "labels": dict, "agent_version": str,
    "connected_since": TIME, "last_seen": TIME, "address": str,
    "resources": {"cpus": NUMBER, "memory_total": int, "disk_total": int},
    "addresses": [str], "capabilities": [str], "clock_skew": NUMBER, "engine": (dict, None),
    "disks": [{"mount": str, "used": int, "total": int}], "metrics": METRICS, "tasks_running": int,
}  # fmt: skip
ERROR = {"code": str, "message": str}


def differences(shape: Any, value: Any, where: str = "$") -> list[str]:
    """Where a value is not of a shape."""
    match shape:
        case dict():
            if not isinstance(value, dict):
                return [f"{where}: {value!r} is no object"]
            missing = [f"{where}.{key} is missing" for key in shape.keys() - value.keys()]
            return missing + [
                found
                for key, inner in shape.items()
                if key in value
                for found in differences(inner, value[key], f"{where}.{key}")
            ]
        case list():
            if not isinstance(value, list):
                return [f"{where}: {value!r} is no array"]
            return [
                found
                for number, item in enumerate(value)
                for found in differences(shape[0], item, f"{where}[{number}]")
            ]
        case tuple():
            fits = any(not differences(kind, value, where) for kind in shape)
            return [] if fits else [f"{where}: {value!r} is none of {shape}"]
        case re.Pattern():
            fits = isinstance(value, str) and shape.fullmatch(value) is not None
            return [] if fits else [f"{where}: {value!r} does not look like {shape.pattern}"]
        case None:
            return [] if value is None else [f"{where}: {value!r} is not null"]
        case _:
            fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
            return [] if fits else [f"{where}: {value!r} is no {shape.__name__}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("json"), agents=["eu-1", "eu-2"]) as cluster:
        yield cluster


async def test_differences_are_found() -> None:
    assert differences({"a": [int], "b": (TIME, None)}, {"a": [1], "b": None, "c": 1}) == []
    assert len(differences({"a": [int], "b": TIME, "c": bool, "d": int}, {"a": [1.5], "b": "x", "c": 1})) == 4
    assert differences({"a": int}, {"a": True}) == ["$.a: True is no int"]


async def test_hello_on_two_nodes_gives_the_whole_document(cluster: Cluster) -> None:
    out = await cluster.cli("pipeline", "run", "hello", "-l", "role=game", "--wait", "-o", "json", "--note", "first")
    document: Document = json.loads(out)
    assert differences(RUN, document) == []
    assert (document["pipeline"], document["version"], document["state"]) == ("hello", 1, "succeeded")
    assert (document["error"], document["params"], document["note"]) == (None, {"name": "world"}, "first")
    assert document["created_at"] <= document["started_at"] <= document["finished_at"]
    nodes = {node["name"]: node["id"] for node in json.loads(await cluster.cli("node", "ls", "-o", "json"))}
    assert {task["node"]: task["node_id"] for task in document["tasks"]} == nodes
    assert set(nodes) == {"eu-1", "eu-2"}
    for task in document["tasks"]:
        assert (task["state"], task["error"], task["fence"]) == ("succeeded", None, 1)
        (step,) = task["steps"]
        assert (step["id"], step["state"], step["attempt"], step["exit_code"]) == ("greet", "succeeded", 1, 0)
        assert (step["error"], step["outputs"]) == (None, {})
        assert task["started_at"] <= step["started_at"] <= step["finished_at"] <= task["finished_at"]
        said = f"Hello, world! This is {task['node']}.\n"
        assert step["log"] == {
            "lines": 1,
            "bytes": len(said),
            "complete": True,
            "sha256": hashlib.sha256(said.encode()).hexdigest(),
            "holes": [],
        }
        assert await cluster.cli("run", "logs", document["id"], "--node", task["node"]) == said
    assert json.loads(await cluster.cli("run", "show", document["id"], "-o", "json")) == document
    (listed,) = [r for r in json.loads(await cluster.cli("run", "ls", "-o", "json")) if r["id"] == document["id"]]
    assert listed == {key: value for key, value in document.items() if key != "tasks"}


async def test_a_failed_run_has_errors_of_the_same_shape(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "failing.yaml"
    file.write_text(
        "pipeline: failing\nsteps:\n"
        '  - {id: talk, run: "echo out; echo err >&2; echo port=28000 >> \\"$GAMENODE_OUTPUT\\"; exit 7"}\n'
        "  - {id: never, run: 'true'}\n"
    )
    out = await cluster.cli("pipeline", "run", str(file), "--node", "eu-1", "--wait", "-o", "json", code=1)
    document: Document = json.loads(out)
    (task,) = document["tasks"]
    talk, never = task["steps"]
    for holder in (document, task, talk):
        assert differences(ERROR, holder["error"]) == []
    never["log"]["sha256"] = never["log"]["sha256"] or "0" * 64  # a step that never ran has no log to hash
    assert differences(RUN, document) == []
    assert (talk["error"]["code"], talk["exit_code"], talk["outputs"]) == ("exit_nonzero", 7, {"port": "28000"})
    assert (talk["log"]["lines"], talk["log"]["bytes"], talk["log"]["complete"]) == (2, 8, True)
    assert (never["state"], never["attempt"], never["exit_code"], never["started_at"]) == ("skipped", 0, None, None)


async def test_node_ls_is_a_list_of_whole_documents(cluster: Cluster) -> None:
    nodes = json.loads(await cluster.cli("node", "ls", "-o", "json"))
    assert differences([NODE], nodes) == []
    assert [node["name"] for node in nodes] == ["eu-1", "eu-2"]
    for node in nodes:
        assert (node["state"], node["admin_state"], node["labels"]) == ("online", "active", {"role": "game"})
        assert node["resources"]["memory_total"] > 1 << 27
        assert node["disks"]
        assert node["capabilities"]
        assert 0 <= node["metrics"]["memory_percent"] <= 100
        assert json.loads(await cluster.cli("node", "show", node["id"], "-o", "json")).keys() == node.keys()
    assert json.loads(await cluster.cli("node", "ls", "-l", "role!=game", "-o", "json")) == []
    lines = (await cluster.cli("node", "ls", "-o", "jsonl")).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [node["id"] for node in nodes]
    assert (await cluster.cli("node", "ls", "-o", "name")).split() == ["eu-1", "eu-2"]


async def test_a_token_and_a_run_that_goes_on_are_documents_too(cluster: Cluster) -> None:
    token = json.loads(await cluster.cli("node", "token", "-o", "json"))
    shape = {"id": str, "token": str, "join_command": str, "expires_at": TIME, "uses": int}
    assert differences(shape, token) == []
    assert token["join_command"] == f"gamenode-agent join {token['token']}"
    document = json.loads(await cluster.cli("pipeline", "run", "hello", "--all", "-o", "json"))
    for task in document["tasks"]:
        for step in task["steps"]:
            step["log"]["sha256"] = step["log"]["sha256"] or "0" * 64  # not known yet
    assert differences(RUN, document) == []
    await cluster.cli("run", "wait", document["id"])
