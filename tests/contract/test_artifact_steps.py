"""Artifacts of steps: from one node over the server to another, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from gamenode_agent.artifacts.carrier import PIECE
from gamenode_pipelines.states import RunState
from support.cluster import Agent, Cluster, running_cluster, settled, state_of
from support.docker_engine import DockerEngineProcess
from support.play_image import play_archive

PUT = """\
pipeline: put
steps:
  - id: make
    run: |
      mkdir maps
      echo one > maps/a.txt
      ln -s a.txt maps/b.txt
      echo log > server.log
  - {id: log, uses: artifact.put, with: {name: server.log, path: server.log}}
  - {id: maps, uses: artifact.put, with: {name: maps.tar, path: maps, keep: 1h}}
  - {id: own, uses: artifact.put, with: {name: own.log, path: server.log, to: node}}
  - {id: say, run: "echo size=${{ steps.log.outputs.bytes }} ${{ steps.maps.outputs.sha256 }}"}
"""
GET = """\
pipeline: get
params:
  what: {type: string}
  max: {type: string, default: 1g}
  sha256: {type: string, default: ""}
steps:
  - id: fetch
    uses: file.fetch
    with: {from: "${{ params.what }}", path: got, max_size: "${{ params.max }}", sha256: "${{ params.sha256 }}"}
  - {id: see, run: "sha256sum got"}
"""


async def run(cluster: Cluster, file: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """A run of a pipeline file, to its end."""
    document: dict[str, Any] = json.loads(
        await cluster.cli("pipeline", "run", str(file), *words, "--wait", "-o", "json", code=code)
    )
    return document


def error_of(document: dict[str, Any], step: str = "fetch") -> dict[str, Any]:
    (found,) = [each for each in document["tasks"][0]["steps"] if each["id"] == step]
    error: dict[str, Any] = found["error"]
    return error


async def test_what_a_step_stores_another_node_has(tmp_path: Path) -> None:
    put, get = tmp_path / "put.yaml", tmp_path / "get.yaml"
    put.write_text(PUT)
    get.write_text(GET)
    async with running_cluster(tmp_path / "c", agents=["eu-1", "eu-2"]) as cluster:
        made = await run(cluster, put, "--node", "eu-1")
        outputs = {step["id"]: step["outputs"] for step in made["tasks"][0]["steps"]}
        assert outputs["log"] == {"name": "server.log", "bytes": "4", "sha256": hashlib.sha256(b"log\n").hexdigest()}
        listed = {each["name"]: each for each in json.loads(await cluster.cli("artifact", "ls", "-o", "json"))}
        assert set(listed) == {"server.log", "maps.tar", "own.log"}
        assert (listed["own.log"]["node"], listed["server.log"]["node"]) == ("eu-1", None)
        assert (listed["maps.tar"]["folder"], listed["maps.tar"]["created_by"]) == (True, "node:eu-1")
        assert (listed["maps.tar"]["run_id"], listed["maps.tar"]["step_id"]) == (made["id"], "maps")

        await run(cluster, get, "--node", "eu-2", "-p", "what=server.log")
        await run(cluster, get, "--node", "eu-2", "-p", f"what=sha256:{listed['server.log']['digest']}")
        await run(cluster, get, "--node", "eu-1", "-p", "what=own.log")
        await cluster.cli("artifact", "get", "maps.tar", "--to", str(tmp_path / "maps.tar"))
        with tarfile.open(tmp_path / "maps.tar") as archive:
            assert archive.getnames() == ["a.txt", "b.txt"]
            assert archive.getmember("b.txt").linkname == "a.txt"

        elsewhere = error_of(await run(cluster, get, "--node", "eu-2", "-p", "what=own.log", code=1))
        assert (elsewhere["code"], "kept on eu-1" in elsewhere["message"]) == ("not_found", True)
        missing = error_of(await run(cluster, get, "--node", "eu-2", "-p", "what=nothing", code=1))
        assert (missing["code"], "gamenode artifact ls" in missing["message"]) == ("not_found", True)
        large = error_of(await run(cluster, get, "--node", "eu-2", "-p", "what=server.log", "-p", "max=3", code=1))
        assert large["code"] == "limit_exceeded"
        other = await run(cluster, get, "--node", "eu-2", "-p", "what=server.log", "-p", f"sha256={'0' * 64}", code=1)
        assert error_of(other)["code"] == "integrity_failed"

        again = await run(cluster, put, "--node", "eu-1")
        assert {step["id"]: step["outputs"] for step in again["tasks"][0]["steps"]}["log"] == outputs["log"]
        events = await cluster.cli("events", "--type", "artifact.stored", "-o", "jsonl")
        assert len(events.splitlines()) == 6


BAD = """\
pipeline: bad
params: {path: {type: string}}
steps:
  - {id: put, uses: artifact.put, with: {name: x, path: "${{ params.path }}"}}
"""


async def test_what_cannot_be_stored_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with running_cluster(
        tmp_path / "c", agents=["eu-1"], env={"GAMENODE_ARTIFACT_SIZE": "3", "GAMENODE_ARTIFACT_SPACE": "4"}
    ) as cluster:
        (tmp_path / "four").write_bytes(b"1234")
        (tmp_path / "three").write_bytes(b"123")
        (tmp_path / "two").write_bytes(b"12")
        for path, code in [
            ("nothing", "not_found"),
            (str(pipe), "invalid_argument"),
            (str(tmp_path / "four"), "limit_exceeded"),
        ]:
            found = error_of(await run(cluster, file, "-p", f"path={path}", "--all", code=1), "put")
            assert found["code"] == code, found
        await run(cluster, file, "-p", f"path={tmp_path / 'three'}", "--all")
        full = error_of(await run(cluster, file, "-p", f"path={tmp_path / 'two'}", "--all", code=1), "put")
        assert (full["code"], "gamenode artifact rm" in full["message"]) == ("storage_full", True)
        await cluster.cli("artifact", "rm", "x", "--yes")
        await run(cluster, file, "-p", f"path={tmp_path / 'two'}", "--all")


SHIP = """\
pipeline: ship
steps:
  - {id: put, uses: artifact.put, with: {name: world, path: PATH}}
"""


@pytest.mark.parametrize("size", [24 << 20, pytest.param(1 << 30, marks=pytest.mark.full)])
async def test_kills_of_agent_and_server_in_the_middle_cost_no_byte(tmp_path: Path, size: int) -> None:
    """Both directions: each end dies once while the content is under way, and what has come is not sent again."""
    world, ship, get = tmp_path / "world", tmp_path / "ship.yaml", tmp_path / "get.yaml"
    digest = scribble(world, size)
    get.write_text(GET)
    ship.write_text(SHIP.replace("PATH", str(world)))
    third = size // PIECE // 3
    async with running_cluster(tmp_path / "c", agents=["eu-1", "eu-2"]) as cluster:
        first, second = cluster.agents

        async def run_through(agent: Agent, agent_dies: str, server_dies: str, *words: str) -> str:
            """A run during which both die, each at its place; its log."""
            for daemon, place, pieces in ((cluster.server, server_dies, 2 * third), (agent, agent_dies, third)):
                await daemon.kill()
                await daemon.start(env={"GAMENODE_FAILPOINTS": f"{place}=kill:{pieces}"})
            doc = json.loads(await cluster.cli("pipeline", "run", *words, "--node", agent.name, "-o", "json"))
            for daemon in (agent, cluster.server):
                await asyncio.wait_for(daemon.process.wait(), 120)  # type: ignore[union-attr]
                await daemon.kill()
                await daemon.start()
            async with cluster.gateway() as gateway:
                assert state_of(await settled(gateway, doc["id"], 240)) is RunState.SUCCEEDED
            return await cluster.cli("run", "logs", doc["id"])

        said = await run_through(first, "artifacts.sent", "artifacts.piece", str(ship))
        assert said.count("going on from there") >= 2, said
        (stored,) = json.loads(await cluster.cli("artifact", "ls", "-o", "json"))
        assert (stored["digest"], stored["bytes"]) == (digest, size)
        words = (str(get), "-p", "what=world", "-p", "max=2g")
        said = await run_through(second, "artifacts.fetched", "artifacts.read", *words)
        assert said.count("going on from there") >= 1, said
        assert digest in said
        for daemon, most in ((first, 120), (second, 120), (cluster.server, 250)):
            assert psutil.Process(daemon.pid).memory_info().rss < most << 20


def scribble(path: Path, size: int) -> str:
    """A file of bytes that no packer makes smaller; its digest."""
    digest, block = hashlib.sha256(), os.urandom(1 << 20)
    with path.open("wb") as file:
        for at in range(0, size, len(block)):
            piece = at.to_bytes(8) + block[8:]
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


LOAD = """\
pipeline: load
steps:
  - {id: load, uses: container.load, with: {from: play.tar}}
  - id: run
    uses: container.job
    with: {image: "${{ steps.load.outputs.image }}", pull: never, command: ["true"]}
"""


async def test_images_come_as_artifacts(tmp_path: Path, docker_engine: DockerEngineProcess) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(LOAD)
    env = {"GAMENODE_DOCKER_HOST": docker_engine.address}
    async with running_cluster(tmp_path / "c", agents=["eu-1"], env=env) as cluster:
        missing = await run(cluster, file, "--all", code=1)
        assert error_of(missing, "load")["code"] == "not_found"
        await cluster.cli("artifact", "put", str(play_archive()), "--name", "play.tar")
        loaded = await run(cluster, file, "--all")
        assert [step["state"] for step in loaded["tasks"][0]["steps"]] == ["succeeded", "succeeded"]
        assert not list(cluster.agents[0].data_dir.rglob("artifact.tar")), "what was brought is gone"
