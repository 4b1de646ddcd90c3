"""The image of the tests, made without a registry: a static busybox and the script of `support.play`.

It is built once, as an archive like `docker save` writes, into a folder that later runs use again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

from support.play import IMAGE, SCRIPT

BUSYBOX = Path("/bin/busybox")
_USERS = "root:x:0:0:root:/:/bin/sh\nplayer:x:1000:1000:player:/:/bin/sh\n"


def cache_dir() -> Path:
    """Where downloads and images are kept between runs."""
    folder = Path(os.environ.get("GAMENODE_TEST_CACHE") or Path.home() / ".cache" / "gamenode-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def play_archive() -> Path:
    """The image as an archive to load."""
    busybox = BUSYBOX.read_bytes()
    if b"/ld-linux" in busybox:
        raise RuntimeError(f"{BUSYBOX} is not static: install the package busybox-static")
    digest = hashlib.sha256(busybox + SCRIPT.encode() + Path(__file__).read_bytes()).hexdigest()
    archive = cache_dir() / f"play-{digest[:16]}.tar"
    if not archive.exists():
        layer = _layer(busybox)
        fresh = archive.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(_image(layer))
        fresh.replace(archive)
    return archive


def _layer(busybox: bytes) -> bytes:
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "var", "root"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        _add(tar, "bin/busybox", busybox, 0o755)
        _add(tar, "bin/play", SCRIPT.encode(), 0o755)
        _add(tar, "etc/passwd", _USERS.encode(), 0o644)
        for applet in applets:
            if applet != "busybox":
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
    return buffer.getvalue()


def _image(layer: bytes) -> bytes:
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/play"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file, data in ((name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(tar, file, data, 0o644)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
