"""A game night from nothing: images, servers, players, logs, and everything gone again; on a real engine."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster, running_cluster
from support.docker_engine import DockerEngineProcess
from support.real_games import PASSWORD, archive, cache_folder, free_port
from support.waiting import until

pytestmark = pytest.mark.timeout(900)  # the first run fetches and builds the images

ADD_BOT = """
pipeline: add-bot
params:
  port: {type: integer}
  password: {}
steps:
  - id: bot
    uses: game.rcon
    with:
      protocol: quake3
      port: ${{ params.port }}
      password: ${{ params.password }}
      commands: [addbot grunt 1]
  - id: count
    uses: game.query
    with: {protocol: quake3, port: "${{ params.port }}"}
  - id: rename
    uses: game.rcon
    with:
      protocol: quake3
      port: ${{ params.port }}
      password: ${{ params.password }}
      commands: [sv_hostname]
"""


async def run(cluster: Cluster, pipeline: str, *, code: int = 0, **params: object) -> dict[str, Any]:
    """The run as it ended, with its steps by id."""
    words = [word for name, value in params.items() for word in ("-p", f"{name}={value}")]
    printed = await cluster.cli("pipeline", "run", pipeline, *words, "--wait", "-o", "json", code=code)
    document: dict[str, Any] = json.loads(printed)
    return document | {"steps": {step["id"]: step for step in document["tasks"][0]["steps"]}}


async def containers(cluster: Cluster) -> dict[str, Any]:
    listed = json.loads(await cluster.cli("container", "ls", "-a", "-o", "json"))
    return {each["name"]: each for each in listed}


async def test_a_game_night(tmp_path: Path, docker_engine: DockerEngineProcess) -> None:
    for game in ("openarena", "teeworlds"):
        await asyncio.to_thread(archive, game)
    word = secrets.token_hex(3)
    games = {
        "openarena": (f"oa-{word}", free_port(), "oa_dm1"),
        "teeworlds": (f"tw-{word}", free_port(), "dm1"),
    }
    env = {"GAMENODE_DOCKER_HOST": docker_engine.address}
    async with running_cluster(tmp_path, agents=["fra-1"], env=env) as cluster:
        try:
            await night(cluster, tmp_path, games)
        finally:
            await asyncio.to_thread(docker_engine.clean)


async def night(cluster: Cluster, tmp_path: Path, games: dict[str, tuple[str, int, str]]) -> None:
    for game, (name, port, first_map) in games.items():
        built = await run(cluster, "build-game-image", game=game, cache=cache_folder())
        assert built["state"] == "succeeded"
        deployed = await run(
            cluster,
            "deploy-game-server",
            game=game,
            name=name,
            port=port,
            title=f"The {game}",
            rcon_password=PASSWORD,
            folder=tmp_path / "settings",
        )
        outputs = deployed["steps"]["answers"]["outputs"]
        assert (outputs["name"], outputs["map"], outputs["players"]) == (f"The {game}", first_map, "0")
        assert f"port {port} (UDP)" in await cluster.cli("run", "logs", deployed["id"], "--step", "tell")

    # Somebody is in, and the server says so.
    (oa, oa_port, _), (tw, _, _) = games["openarena"], games["teeworlds"]
    file = tmp_path / "add-bot.yaml"
    file.write_text(ADD_BOT)
    added = await run(cluster, str(file), port=oa_port, password=PASSWORD)
    assert added["steps"]["count"]["outputs"]["players"] == "1"
    assert "The openarena" in added["steps"]["rename"]["outputs"]["reply"]
    assert PASSWORD not in await cluster.cli("run", "logs", added["id"])

    # Both are seen, with what they use.
    async def measured() -> bool:
        listed = await containers(cluster)
        return all(listed[name]["memory_used"] and listed[name]["cpu_percent"] is not None for name in (oa, tw))

    await until(measured, seconds=60, what="CPU and memory of both servers")
    listed = await containers(cluster)
    for name, image in ((oa, "gn/openarena:0.8.8"), (tw, "gn/teeworlds:0.7.5")):
        assert (listed[name]["state"], listed[name]["image"], listed[name]["own"]) == ("running", image, True)
        assert listed[name]["memory_limit"] == 512 << 20
    assert "The openarena" in await cluster.cli("container", "logs", oa)
    assert "server name is 'The teeworlds'" in await cluster.cli("container", "logs", tw)

    # Other settings do not slip in under the same name, and change nothing where they are refused.
    same = {"game": "teeworlds", "name": tw, "port": games["teeworlds"][1], "folder": tmp_path / "settings"}
    refused = await run(cluster, "deploy-game-server", code=1, **same, title="Another")
    assert refused["steps"]["teeworlds"]["error"]["code"] == "name_conflict"
    replaced = await run(cluster, "deploy-game-server", **same, title="Another", replace="true")
    assert replaced["steps"]["answers"]["outputs"]["name"] == "Another"

    for name in (oa, tw):
        assert (await run(cluster, "remove-game-server", name=name, folder=tmp_path / "settings"))[
            "state"
        ] == "succeeded"

    async def gone() -> bool:
        return not {oa, tw} & set(await containers(cluster))

    await until(gone, seconds=30, what="the list to be without them")
    assert not list((tmp_path / "settings").iterdir())
