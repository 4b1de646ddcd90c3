"""Real game servers, from images that the shipped pipeline builds: as archives for an engine, and as plain processes.

Images, and the packages they are made from, are kept in GAMENODE_TEST_CACHE (by default ~/.cache/gamenode-tests).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest

from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.library import shipped
from gamenode_pipelines.load import load_pipelines

PASSWORD = "s3same"


def cache_folder() -> Path:
    """Where downloads and images stay between runs."""
    return Path(os.environ.get("GAMENODE_TEST_CACHE") or Path.home() / ".cache" / "gamenode-tests")


def build_script() -> str:
    """The script of the shipped pipeline that builds an image."""
    (loaded,) = load_pipelines(shipped()["build-game-image"], "build-game-image")
    script = compile_plan(loaded.spec, {}, version=1).step("build").script
    assert script is not None
    return script.text


@cache
def archive(game: str) -> Path:
    """The archive of a game's image, built where it is not in the cache."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            pytest.skip(f"game images are made from Debian packages, and this machine has no {program}")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"output-{os.getpid()}"
    env = {**os.environ, "GAME": game, "CACHE": str(folder), "GAMENODE_OUTPUT": str(output)}
    done = subprocess.run([sys.executable, "-c", build_script()], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    finally:
        output.unlink()
    return Path(outputs["archive"])


@cache
def root(game: str) -> Path:
    """The files of a game's image, unpacked."""
    image = archive(game)
    folder = cache_folder() / "roots" / image.stem
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            with tarfile.open(image) as outer:
                layer = outer.extractfile("layer.tar")
                assert layer is not None
                with tarfile.open(fileobj=layer) as files:
                    # Links point to / of the image, which is not ours.
                    files.extractall(new, filter="fully_trusted")
            new.rename(folder)
    return folder


def free_port() -> int:
    """A port that is free over UDP and over TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
            except OSError:
                continue
            return int(tcp.getsockname()[1])


@asynccontextmanager
async def game_server(game: str, port: int, home: Path, *, title: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real server as a process on the loopback, with a remote console on the same port."""
    files = root(game)
    loader = next(files.glob("lib/*/ld-linux*.so.*"))
    libraries = f"{loader.parent}:{files / 'usr/lib' / loader.parent.name}"
    if game == "openarena":
        folder = files / "usr/lib/openarena-server"
        variables = {
            "dedicated": "1",
            "com_basegame": "baseoa",
            "com_legacyprotocol": "71",
            "com_protocol": "71",
            "fs_basepath": str(folder),
            "fs_homepath": str(home),
            "net_ip": "127.0.0.1",
            "net_port": str(port),
            "sv_hostname": title,
            "sv_master1": "",
            "sv_master2": "",
            "rconpassword": PASSWORD,
        }
        words = [word for name, value in variables.items() for word in ("+set", name, value)]
        argv = [str(files / "usr/lib/ioquake3/ioq3ded"), *words, "+map", "oa_dm1"]
    else:
        folder = files / "usr/share/games/teeworlds"
        lines = ["bindaddr 127.0.0.1", f"sv_port {port}", "sv_register 0", f"sv_name {title}", "sv_map dm1"]
        lines += ["ec_bindaddr 127.0.0.1", f"ec_port {port}", f"ec_password {PASSWORD}", "ec_output_level 1"]
        argv = [str(files / "usr/games/teeworlds-server"), *lines]
    with (home / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(loader), "--library-path", libraries, *argv),
            cwd=folder,
            env={"HOME": str(home)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
