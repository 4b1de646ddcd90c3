"""Operators on other hosts: users, credentials, `--connect`, contexts, and what is said where it does not work."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from support.cluster import Cluster, run_to_end, running_cluster

LISTENS = {"GAMENODE_CONTROL_LISTEN": "127.0.0.1:0"}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path / "cluster", agents=["eu-1"], env=LISTENS) as made:
        yield made


def address(cluster: Cluster) -> str:
    return str(cluster.server_file["control_listen"])


async def create(cluster: Cluster, file: Path, name: str, role: str, *words: str) -> list[str]:
    """Makes a user, and gives the options by which it reaches this cluster."""
    await cluster.cli("user", "create", name, "--role", role, "--out", str(file), *words)
    return ["--connect", address(cluster), "--credentials", str(file)]


async def gamenode(
    cluster: Cluster, *words: str, code: int = 0, env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """What the client says, without a data dir: stdout and stderr."""
    argv = [sys.executable, "-m", "gamenode_console", *words]
    out, err, _ = await run_to_end(argv, env={**cluster.env, **(env or {})}, code=code)
    return out, err


async def test_an_operator_elsewhere_does_all_that_one_here_does(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "alice.json"
    there = await create(cluster, file, "alice", "operator")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    who = json.loads((await gamenode(cluster, *there, "whoami", "-o", "json"))[0])
    assert (who["principal"], who["role"], who["method"]) == ("alice", "operator", "certificate")
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("pipeline: hi\nsteps:\n  - id: say\n    run: echo from afar\n")
    out, _ = await gamenode(cluster, "pipeline", "run", str(pipeline), "--all", "--follow", *there)
    assert "from afar" in out
    runs = json.loads((await gamenode(cluster, *there, "run", "ls", "-o", "json"))[0])
    assert [run["created_by"] for run in runs] == ["alice"]

    env = {"GAMENODE_CONNECT": address(cluster), "GAMENODE_CREDENTIALS": str(file)}
    assert (await gamenode(cluster, "node", "ls", "-o", "name", env=env))[0] == "eu-1\n"
    await gamenode(cluster, "context", "add", "prod", *there, "--use")
    assert (await gamenode(cluster, "node", "ls", "-o", "name"))[0] == "eu-1\n"
    (context,) = json.loads((await gamenode(cluster, "context", "ls", "-o", "json"))[0])
    assert (context["connect"], context["credentials"], context["current"]) == (address(cluster), str(file), True)
    checks = json.loads((await gamenode(cluster, "doctor", "-o", "json"))[0])
    assert {check["check"]: check["result"] for check in checks}["credentials"] == "ok"
    assert "is for a server on this machine" in (await gamenode(cluster, "down", code=2))[1]


async def test_the_port_is_the_same_after_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    there = await create(cluster, tmp_path / "alice.json", "alice", "viewer")
    await cluster.server.kill()
    await cluster.start_server()
    assert (await gamenode(cluster, *there, "node", "ls", "-q"))[0]
    assert address(cluster) in cluster.server.ready


async def test_a_viewer_may_look_only_and_only_an_admin_sees_the_users(cluster: Cluster, tmp_path: Path) -> None:
    viewer = await create(cluster, tmp_path / "carol.json", "carol", "viewer")
    admin = await create(cluster, tmp_path / "alice.json", "alice", "admin", "--ttl", "1h")
    await gamenode(cluster, *viewer, "node", "ls")
    assert "needs the role operator" in (await gamenode(cluster, *viewer, "node", "label", "eu-1", "a=b", code=5))[1]
    await gamenode(cluster, *viewer, "user", "ls", code=5)
    users = json.loads((await gamenode(cluster, *admin, "user", "ls", "-o", "json"))[0])
    assert [(user["name"], user["role"], user["state"], user["login"]) for user in users] == [
        ("alice", "admin", "active", "certificate"),
        ("carol", "viewer", "active", "certificate"),
    ]
    rows = json.loads(await cluster.cli("audit", "ls", "--user", "carol", "-o", "json"))
    assert [(row["method"], row["outcome"], row["source"]) for row in rows] == [
        ("LabelNode", "permission_denied", "127.0.0.1")
    ]


async def test_a_revoked_users_stream_ends_at_once_and_says_why(cluster: Cluster, tmp_path: Path) -> None:
    there = await create(cluster, tmp_path / "alice.json", "alice", "viewer")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gamenode_console", *there, "events", "-f", "--after", "0", "-o", "jsonl"),
        env=dict(cluster.env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)  # it is connected
    await cluster.cli("user", "revoke", "alice", "--yes", "--reason", "left the team")
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 5
    assert b"user alice has been revoked" in err
    assert b"gamenode user create alice" in err
    assert "has been revoked" in (await gamenode(cluster, *there, "status", code=5))[1]


async def test_whatever_is_in_the_way_is_said_with_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "alice.json"
    there = await create(cluster, file, "alice", "viewer")

    async def at(place: str, *, code: int = 4, credentials: Path = file) -> str:
        words = ("--connect", place, "--credentials", str(credentials), "node", "ls")
        return (await gamenode(cluster, *words, code=code))[1]

    nobody = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    host, port = nobody.sockets[0].getsockname()
    said = await at(f"{host}:{port}")
    assert "no GameNode server" in said or "no server can be reached" in said
    nobody.close()
    await nobody.wait_closed()
    said = await at(f"{host}:{port}")
    assert "no server can be reached" in said
    assert "--control-listen" in said
    assert "does not take these credentials on this port" in await at(cluster.server_file["listen"])
    assert "give --credentials FILE" in (await gamenode(cluster, *there[:2], "node", "ls", code=2))[1]
    assert "exists already" in (await gamenode(cluster, *there, "user", "create", "x", "--role", "viewer", "--out",
                                               str(file), code=6))[1]  # fmt: skip

    expired = tmp_path / "expired.json"
    document = json.loads(file.read_text())
    expired.write_text(json.dumps({**document, "expires_at": "2020-01-01T00:00:00Z"}))
    expired.chmod(0o600)
    assert "gamenode user create alice --role viewer --out FILE" in await at(there[1], code=5, credentials=expired)
    file.chmod(0o644)
    assert "chmod 600" in await at(there[1], code=2)
    file.chmod(0o600)

    async with running_cluster(tmp_path / "other", env=LISTENS) as other:
        said = await at(address(other))
    assert f"not of the cluster {document['cluster_id']}" in said


async def test_a_user_that_could_not_be_made_leaves_no_file(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for words, code in (
        (("No Name", "--role", "viewer", "--out", str(file)), 2),
        (("x", "--role", "king", "--out", str(file)), 2),
        (("x", "--role", "viewer"), 2),
        (("x", "--role", "viewer", "--out", str(file), "--unix-user", "root"), 2),
        (("x", "--role", "viewer", "--unix-user", "root", "--ttl", "1h"), 2),
        (("x", "--role", "viewer", "--unix-user", "no-such-user"), 2),
    ):
        await cluster.cli("user", "create", *words, code=code)
        assert not file.exists()
    assert json.loads(await cluster.cli("user", "ls", "-o", "json")) == []
    assert await cluster.cli("user", "create", "r", "--role", "viewer", "--unix-user", "root") == "r: viewer as root\n"
