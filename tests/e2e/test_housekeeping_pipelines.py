"""The shipped pipelines that keep nodes in order, on a real agent; where containers are concerned, on a real engine."""

from __future__ import annotations

import ctypes
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from support.cluster import Cluster, running_cluster
from support.docker_engine import DockerEngineProcess
from support.game_servers import udp_server
from support.play import IMAGE, PROGRAM
from support.waiting import until

STATUS = b"\xff\xff\xff\xffstatusResponse\n\\sv_hostname\\Mine\\mapname\\dm1\\sv_maxclients\\8\n"


async def run(cluster: Cluster, pipeline: str, *, code: int = 0, **params: object) -> dict[str, Any]:
    words = [word for name, value in params.items() for word in ("-p", f"{name}={value}")]
    printed = await cluster.cli("pipeline", "run", pipeline, *words, "--wait", "-o", "json", code=code)
    document: dict[str, Any] = json.loads(printed)
    return document | {"steps": {step["id"]: step for step in document["tasks"][0]["steps"]}}


async def test_health_says_what_is_wrong(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        fine = await run(cluster, "health", disk=100, memory="1m", load=1000)
        assert fine["steps"]["check"]["outputs"] == {"problems": "0"}
        bad = await run(cluster, "health", code=1, disk=100, memory="900g", load=1000)
        assert bad["steps"]["check"]["outputs"] == {"problems": "1"}
        logs = await cluster.cli("run", "logs", bad["id"])
        assert "BAD  memory" in logs
        assert "not well: memory:" in logs
        kept = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024)) not in (-1, 5)
        clock = await run(cluster, "health", code=0 if kept else 1, disk=100, memory="1m", load=1000, clock="true")
        said = "ok   clock" if kept else "BAD  clock"
        assert said in await cluster.cli("run", "logs", clock["id"])


async def test_cleanup_removes_old_files_once_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "logs"
    (folder / "inner").mkdir(parents=True)
    old, young, other = folder / "inner" / "old.log", folder / "young.log", folder / "old.txt"
    for file in (old, young, other):
        file.write_text("x" * 1000)
    elsewhere = tmp_path / "elsewhere.log"
    elsewhere.write_text("keep")
    (folder / "link.log").symlink_to(elsewhere)
    for file in (old, other, elsewhere):
        os.utime(file, (1, 1))
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        dry = await run(cluster, "cleanup", folders=folder, pattern="*.log", older="48h")
        assert dry["steps"]["files"]["outputs"] == {"files": "1", "bytes": "1000"}
        assert old.exists()
        await run(cluster, "cleanup", folders=folder, pattern="*.log", older="48h", dry="false")
        assert [file.exists() for file in (old, young, other, elsewhere)] == [False, True, True, True]
        refused = await run(cluster, "cleanup", code=1, folders="/", older="48h", dry="false")
        assert "not one at the top" in await cluster.cli("run", "logs", refused["id"])


async def test_collect_logs_packs_what_has_changed(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "new.log").write_text("hello\n")
    (logs / "big.log").write_bytes(b"x" * 3_000_000)
    (logs / "old.log").write_text("old\n")
    os.utime(logs / "old.log", (1, 1))
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        packed = await run(cluster, "collect-logs", paths=f"{logs}/*.log", folder=tmp_path / "out", most="1m")
        outputs = packed["steps"]["pack"]["outputs"]
        with tarfile.open(outputs["path"]) as archive:
            assert [Path(name).name for name in archive.getnames()] == ["new.log"]
        assert int(outputs["bytes"]) == Path(outputs["path"]).stat().st_size
        assert "left out, as it is too much" in await cluster.cli("run", "logs", packed["id"])
        got = tmp_path / "got.tar.gz"
        await cluster.cli("artifact", "get", "logs-eu-1.tar.gz", "--to", str(got))
        assert got.read_bytes() == Path(outputs["path"]).read_bytes()
        await run(cluster, "collect-logs", code=1, paths=f"{logs}/nothing*", folder=tmp_path / "out")


async def test_images_and_games_are_cleared_away(tmp_path: Path, docker_engine: DockerEngineProcess) -> None:
    players = [b'0 0 "Ann"\n']
    env = {"GAMENODE_DOCKER_HOST": docker_engine.address}
    socket = docker_engine.address.removeprefix("unix://")
    async with (
        udp_server(lambda _: [STATUS + b"".join(players)]) as port,
        running_cluster(tmp_path / "c", agents=["eu-1"], env=env) as cluster,
    ):
        file = tmp_path / "start.yaml"
        file.write_text(
            "pipeline: start\nsteps:\n  - id: up\n    uses: container.run\n"
            f"    with: {{name: victim, image: '{IMAGE}', command: [{PROGRAM}, sleep=600], network: none}}\n"
        )
        await run(cluster, str(file))

        async def running() -> bool:
            listed = json.loads(await cluster.cli("container", "ls", "-o", "json"))
            return any(each["name"] == "victim" for each in listed)

        await until(running, what="the game to run")
        await cluster.cli("node", "drain", "eu-1", "--deadline", "1ms", "--wait")
        assert await running()  # what a finished step has started is not what runs on a node
        await cluster.cli("node", "uncordon", "eu-1")
        kept = await run(cluster, "drain-node", code=1, name="victim", port=port, deadline="1s")
        assert kept["steps"]["empty"]["error"]["code"] == "gate_deadline"
        assert await running()
        players.clear()
        await run(cluster, "drain-node", name="victim", port=port, deadline="20s", grace="1s")

        async def gone() -> bool:
            return not await running()

        await until(gone, what="the game to be gone")
        seen = await run(cluster, "cleanup", images="true", socket=socket)
        assert "would free up to" in await cluster.cli("run", "logs", seen["id"])
        well = await run(cluster, "health", disk=100, memory="1m", load=1000, docker="true", socket=socket)
        assert "ok   docker" in await cluster.cli("run", "logs", well["id"])
