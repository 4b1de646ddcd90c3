"""`gamenode artifact` against a real server."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import tarfile
from pathlib import Path

from support.cluster import Cluster, running_cluster
from support.waiting import until


async def listed(cluster: Cluster, *words: str) -> list[tuple[str, int]]:
    return [
        (each["name"], each["bytes"]) for each in json.loads(await cluster.cli("artifact", "ls", *words, "-o", "json"))
    ]


async def test_put_list_get_and_remove(tmp_path: Path) -> None:
    arena, target = tmp_path / "arena.pk3", tmp_path / "got"
    arena.write_bytes(os.urandom(700_000))
    digest = hashlib.sha256(arena.read_bytes()).hexdigest()
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        assert (await cluster.cli("artifact", "put", str(arena))).startswith(f"arena.pk3  sha256:{digest[:12]}  ")
        document = json.loads(await cluster.cli("artifact", "put", str(arena), "--name", "map", "-o", "json"))
        assert (document["digest"], document["node"], document["run_id"]) == (digest, None, None)
        content = list((cluster.data_dir / "server" / "artifacts" / "content").rglob("*"))
        assert [path.name for path in content if path.is_file()] == [digest], "one content, two names"

        await cluster.cli("artifact", "get", "map", "--to", str(target))
        assert target.read_bytes() == arena.read_bytes()
        await cluster.cli("artifact", "get", "map", "--to", str(target), code=6)
        await cluster.cli("artifact", "get", digest[:10], "--to", str(target), "--force")
        assert not list(tmp_path.glob(".*part")), "nothing is left beside it"

        part = tmp_path / f".{digest[:16]}.gamenode-part"
        with part.open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            await cluster.cli("artifact", "get", digest, "--to", str(tmp_path / "other"), code=6)
        await cluster.cli("artifact", "get", digest, "--to", str(tmp_path / "other"))
        assert (tmp_path / "other").read_bytes() == arena.read_bytes()
        assert not part.exists()

        (tmp_path / "map").write_bytes(b"newer")
        await cluster.cli("artifact", "put", str(tmp_path / "map"), "--keep", "1d")
        assert await cluster.cli("artifact", "get", "map", "--to", "-") == "newer"
        assert await listed(cluster) == [("map", 5), ("arena.pk3", 700_000)]
        assert await listed(cluster, "map", "-a") == [("map", 5), ("map", 700_000)]
        assert await cluster.cli("artifact", "put", "-", "--name", "in.txt", "-o", "name", stdin="said\n") == "in.txt\n"

        assert "map" in await cluster.cli("artifact", "rm", "map", "--dry-run")
        await cluster.cli("artifact", "rm", "map", code=2)  # nobody can be asked
        await cluster.cli("artifact", "rm", "map", "nothing", "--yes", code=3)
        await cluster.cli("artifact", "rm", "map", "--yes", "--reason", "old")
        assert await listed(cluster) == [("in.txt", 5), ("arena.pk3", 700_000)]
        await cluster.cli("artifact", "get", "map", "--to", "-", code=3)
        await cluster.cli("artifact", "rm", digest, "in.txt", "--yes")
        content = list((cluster.data_dir / "server" / "artifacts" / "content").rglob("*"))
        assert not [path for path in content if path.is_file()], "what nobody names is gone at once"
        rows = json.loads(await cluster.cli("audit", "ls", "-o", "json"))
        said = [
            (row["method"], row["target"], row["outcome"], row["reason"]) for row in rows if "Artifact" in row["method"]
        ]
        assert ("RemoveArtifacts", "map", "ok", "old") in said
        assert ("OfferArtifact", "arena.pk3", "ok", None) in said


async def test_a_folder_is_the_same_archive_whenever_it_is_put(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    (maps / "deep").mkdir(parents=True)
    (maps / "deep" / "b").write_text("b")
    (maps / "a").write_text("a")
    os.link(maps / "a", maps / "z")
    os.mkfifo(maps / "pipe")
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        one = json.loads(await cluster.cli("artifact", "put", str(maps), "-o", "json"))
        two = json.loads(await cluster.cli("artifact", "put", f"{maps}/", "-o", "json"))
        assert (one["name"], one["folder"], one["digest"]) == ("maps.tar", True, two["digest"])
        await cluster.cli("artifact", "get", "maps.tar", "--to", str(tmp_path))
        with tarfile.open(tmp_path / "maps.tar") as archive:
            assert archive.getnames() == ["a", "deep", "deep/b", "z"]
            assert {member.uid for member in archive.getmembers()} == {0}
            content = archive.extractfile("z")
            assert content is not None
            assert content.read() == b"a"


REFUSED = [
    (("put", "nothing"), 2),
    (("put", "-"), 2),
    (("put", "FILE", "--name", "a/b"), 2),
    (("put", "FILE", "--name", "ab" * 32), 2),
    (("put", "/dev/null"), 2),
    (("get", "nothing"), 3),
    (("get", "x", "--to", "/nowhere/x"), 2),
    (("rm", "nothing", "--yes"), 3),
    (("ls", "nothing"), 3),
]


async def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("x")
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        await cluster.cli("artifact", "put", str(file))
        for words, code in REFUSED:
            await cluster.cli("artifact", *(str(file) if word == "FILE" else word for word in words), code=code)


async def test_a_put_goes_on_where_a_killed_server_got_to(tmp_path: Path) -> None:
    file = tmp_path / "big"
    with file.open("wb") as out:
        for number in range(24):
            out.write(number.to_bytes(8) + os.urandom((1 << 20) - 8))
    async with running_cluster(tmp_path / "c", agents=[]) as cluster:
        incoming = cluster.data_dir / "server" / "artifacts" / "incoming"
        put = asyncio.create_task(cluster.cli("artifact", "put", str(file)))
        await until(lambda: any(path.stat().st_size > 1 << 20 for path in incoming.iterdir()), what="the upload")
        await cluster.server.kill()
        assert [path.stat().st_size < 24 << 20 for path in incoming.iterdir()] == [True]
        await cluster.start_server()
        await put
        await cluster.cli("artifact", "get", "big", "--to", str(tmp_path / "got"))
        assert (tmp_path / "got").read_bytes() == file.read_bytes()
