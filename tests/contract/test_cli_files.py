"""Files that travel with a pipeline, from beside the file to the folder where its steps work."""

from __future__ import annotations

import json
from pathlib import Path

from support.cluster import running_cluster

TEXT = """\
pipeline: carrying
files: [bin/tell.sh, data/words.txt]
steps:
  - {id: tell, run: ./bin/tell.sh}
"""


async def test_they_are_stored_with_the_version_and_lie_in_the_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    (folder / "bin").mkdir(parents=True)
    (folder / "data").mkdir()
    script, data, file = folder / "bin" / "tell.sh", folder / "data" / "words.txt", folder / "carrying.yaml"
    file.write_text(TEXT)
    script.write_text("#!/bin/sh\ncat data/words.txt\n")
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        await cluster.cli("pipeline", "apply", str(file), code=2)  # one of them is not there
        await cluster.cli("pipeline", "lint", str(file), code=2)
        data.write_bytes(b"one a\0\n")
        script.chmod(0o755)
        await cluster.cli("pipeline", "apply", str(file))
        shown = json.loads(await cluster.cli("pipeline", "show", "carrying", "-o", "json"))
        assert [(each["path"], each["size"], each["mode"]) for each in shown["files"]] == [
            ("bin/tell.sh", 29, "755"),
            ("data/words.txt", 7, "644"),
        ]

        async def said(*words: str) -> str:
            run = json.loads(await cluster.cli("pipeline", "run", *words, "--wait", "-o", "json"))
            return await cluster.cli("run", "logs", run["id"], "--grep", "one|two")

        assert "one" in await said("carrying")
        data.write_text("two\n")
        assert "two" in await said(str(file))  # of the file, nothing is stored
        assert "one" in await said("carrying")
        assert "+# file data/words.txt, mode 644" in await cluster.cli(
            "pipeline", "diff", "carrying", str(file), code=1
        )
        await cluster.cli("pipeline", "apply", str(file))
        assert "-# file data/words.txt, mode 644" in await cluster.cli("pipeline", "diff", "carrying", code=1)
        await cluster.cli("pipeline", "diff", "carrying", str(file))
        assert "two" in await said("carrying")
        assert json.loads(await cluster.cli("pipeline", "show", "carrying", "-o", "json"))["version"] == 2
        assert "unchanged" in await cluster.cli("pipeline", "apply", str(file))


async def test_nothing_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (tmp_path / "secret").write_text("no")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "big").write_bytes(b"x" * ((1 << 20) + 1))
    (folder / "inner.yaml").write_text(TEXT.replace("[bin/tell.sh, data/words.txt]", "[small]"))
    (folder / "small").write_text("x")
    file = folder / "p.yaml"
    async with running_cluster(tmp_path / "c", agents=["eu-1"]) as cluster:
        for path in ("../secret", "/etc/passwd", "link", "big", "nothing", "a//b", "."):
            file.write_text(TEXT.replace("[bin/tell.sh, data/words.txt]", f"[{path!r}]"))
            await cluster.cli("pipeline", "apply", str(file), code=2)
        await cluster.cli("pipeline", "apply", str(folder / "inner.yaml"))
        file.write_text("pipeline: outer\nsteps:\n  - {id: a, uses: pipeline, with: {name: carrying}}\n")
        await cluster.cli("pipeline", "apply", str(file), code=2)
