"""build-game-image: from Debian packages to an archive, with a stand-in for apt-get and small packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.real_games import build_script

PACKAGES = ("gcc-12-base", "libc6", "libgcc-s1", "libstdc++6", "teeworlds-data", "teeworlds-server", "zlib1g")
APT = """#!{python}
import hashlib, os, pathlib, shutil, sys
repository = pathlib.Path({repository!r})
words = sys.argv[1:]
with open(repository / "asked", "a") as asked:
    print(*words, file=asked)
private = any("Dir::State::lists" in word for word in words)
if "update" in words:
    sys.exit((repository / "update-fails").exists())
names = [word for word in words if (repository / (word + ".deb")).exists()]
unknown = (repository / "unknown").exists() or ((repository / "old-lists").exists() and not private)
if unknown or not names:
    sys.exit("E: Unable to locate package zlib1g")
for name in names:
    deb = repository / (name + ".deb")
    if "--print-uris" in words:
        size = (repository / "size").read_text() if (repository / "size").exists() else deb.stat().st_size
        checksum = hashlib.sha256(deb.read_bytes()).hexdigest()
        print(f"'http://x/{{name}}' {{name}}_1_all.deb {{size}} SHA256:{{checksum}}")
    elif not (repository / "broken-mirror").exists():
        shutil.copy(deb, f"{{name}}_1_all.deb")
"""


@dataclass
class Debian:
    """A machine with a repository of small packages."""

    folder: Path
    packages: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def asked(self) -> list[str]:
        file = self.packages / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def mark(self, name: str, text: str = "") -> None:
        (self.packages / name).write_text(text)

    def build(self, *, code: int = 0, cache: str = "", path: str = "") -> tuple[dict[str, str], str]:
        """The step's outputs, and what it prints."""
        output = self.folder / "output"
        output.write_text("")
        env = {
            "PATH": path or f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "GAME": "teeworlds",
            "CACHE": cache or str(self.cache),
            "GAMENODE_OUTPUT": str(output),
        }
        done = subprocess.run(
            [sys.executable, "-c", build_script()], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return dict(line.split("=", 1) for line in output.read_text().splitlines()), done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package for each name, with a directory that all have and a file that may raise rights."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("packages are made with dpkg-deb, which this machine does not have")
    folder = tmp_path_factory.mktemp("packages")
    for name in PACKAGES:
        tree = folder / "tree" / name
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n"
        )
        (tree / "usr" / "games").mkdir(parents=True)
        (tree / "usr" / "games" / name).write_text(f"this is {name}")
        (tree / "usr" / "games" / name).chmod(0o4755)
        (tree / "usr" / "games" / f"{name}.link").symlink_to(f"/usr/games/{name}")
        subprocess.run(["dpkg-deb", "--build", tree, folder / f"{name}.deb"], check=True, capture_output=True)
    return folder


@pytest.fixture
def debian(tmp_path: Path, packages: Path) -> Debian:
    repository = tmp_path / "repository"
    repository.mkdir()
    for deb in packages.glob("*.deb"):
        shutil.copy(deb, repository)
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(APT.format(python=sys.executable, repository=str(repository)))
    apt.chmod(0o755)
    return Debian(tmp_path, repository)


def test_an_archive_as_docker_save_makes_it(debian: Debian) -> None:
    outputs, said = debian.build()
    assert outputs["image"] == "gn/teeworlds:0.7.5"
    assert outputs["cached"] == "false"
    assert "7 packages" in said
    with tarfile.open(outputs["archive"]) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.loads(read("manifest.json"))
        assert image["RepoTags"] == ["gn/teeworlds:0.7.5"]
        config_bytes, layer = read(image["Config"]), read(image["Layers"][0])
        assert image["Config"] == hashlib.sha256(config_bytes).hexdigest() + ".json"
        config = json.loads(config_bytes)
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
        assert config["config"]["User"] == "1000:1000"
        assert config["config"]["Entrypoint"] == ["/usr/games/teeworlds-server"]
        opened = archive.extractfile("layer.tar")
        assert opened is not None
        with tarfile.open(fileobj=opened) as files:
            entries = {file.name: file for file in files}
            game = entries["usr/games/teeworlds-server"]
            text = files.extractfile(game)
            assert text is not None
            assert text.read() == b"this is teeworlds-server"
            assert files.getnames().count("usr/games") == 1
    assert (game.mode, game.uid) == (0o755, 0), "nothing in an image raises its rights"
    assert entries["usr/games/zlib1g.link"].linkname == "/usr/games/zlib1g"
    assert (entries["home/game"].uid, entries["home/game"].mode) == (1000, 0o755)
    assert "etc/passwd" in entries


def test_the_same_packages_give_the_same_bytes(debian: Debian) -> None:
    first = Path(debian.build()[0]["archive"])
    before = first.read_bytes()
    first.unlink()
    assert Path(debian.build()[0]["archive"]).read_bytes() == before
    assert sum("--print-uris" not in asked for asked in debian.asked) == 1, "the packages were still there"


def test_what_is_built_is_not_built_again(debian: Debian) -> None:
    first, _ = debian.build()
    asked = len(debian.asked)
    again, said = debian.build()
    assert (again["archive"], again["cached"]) == (first["archive"], "true")
    assert "nothing to build" in said
    assert len(debian.asked) == asked


def test_a_damaged_package_is_fetched_again(debian: Debian) -> None:
    first, _ = debian.build()
    Path(first["archive"]).unlink()
    damaged = debian.cache / "packages" / "zlib1g_1_all.deb"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    _, said = debian.build()
    assert "1 to fetch" in said
    assert debian.asked[-1].endswith("download zlib1g")


def test_old_package_lists_are_passed_over_without_touching_the_node(debian: Debian) -> None:
    debian.mark("old-lists")
    _, said = debian.build()
    assert "fetching new ones into the cache" in said
    assert any(f"Dir::State::lists={debian.cache}/apt/lists" in asked and "update" in asked for asked in debian.asked)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"unknown": ""}, "not every package can be found:\nE: Unable to locate package zlib1g"),
        ({"broken-mirror": ""}, "not every package could be fetched: gcc-12-base_1_all.deb"),
        ({"old-lists": "", "update-fails": ""}, "can this node reach a Debian mirror?"),
        ({"size": str(10**15)}, "MB free, and this takes up to"),
    ],
)
def test_what_is_in_the_way_is_said(debian: Debian, trouble: dict[str, str], said: str) -> None:
    for name, text in trouble.items():
        debian.mark(name, text)
    outputs, told = debian.build(code=1)
    assert f"cannot build the image: {said}" in told or said in told
    assert not outputs
    assert not list(debian.cache.glob("images/*")), "nothing half done stays"


def test_a_node_that_is_no_debian(debian: Debian) -> None:
    _, said = debian.build(code=1, path=str(debian.folder))
    assert "this node has no apt-get: it takes a Debian, or a system like it" in said


def test_a_cache_that_cannot_be(debian: Debian) -> None:
    assert "must be a path from /, not 'here'" in debian.build(code=1, cache="here")[1]
    (debian.folder / "file").write_text("")
    assert "Not a directory" in debian.build(code=1, cache=str(debian.folder / "file" / "cache"))[1]
