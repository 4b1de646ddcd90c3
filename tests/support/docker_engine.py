"""A Docker engine for the tests: one of their own where they may, with everything it needs in a folder of its own.

It touches no firewall. Where it may make a bridge of its own, ports are published through the engine's proxy; elsewhere
its containers have the networks `host` and `none`. It is stopped by its pid, with its containers, when the tests end;
what an earlier run was too dead to clean up is cleaned up before.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import docker
import psutil
import pytest
import requests

from gamenode_agent.engines.docker.finding import knock
from support.play_image import play_archive

T = TypeVar("T")

START_SECONDS = 60.0
STOP_SECONDS = 60.0
_PREFIX = "gn-docker-"


class DockerEngineProcess:
    """One dockerd. Its methods block: from a loop call them in a thread."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.address = f"unix://{self.socket}"
        self.options = options
        #: Its network interface; empty where it could not have one.
        self.bridge = ""
        #: Whether it is ours to stop.
        self.private = True
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "owner").write_text(str(os.getpid()))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, live_restore: bool = False, wait: bool = True) -> None:
        """Starts it and waits until it answers."""
        assert self._process is None
        self.socket.unlink(missing_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)
        argv = [
            "dockerd",
            f"--bridge={self.bridge or 'none'}",
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid"), "-H", self.address),
            # Should it find a containerd of the machine, its containers must not meet those of other engines.
            *(
                "--containerd-namespace",
                self.folder.name,
                "--containerd-plugins-namespace",
                f"{self.folder.name}-plugins",
            ),
            *(("--live-restore",) if live_restore else ()),
            *self.options,
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"dockerd does not answer at {self.address}:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """As a service manager does; without live-restore its containers end with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """It dies without a word; its containers go on until it is started again."""
        self._end(signal.SIGKILL)
        # Its containerd dies with it, a moment later: one that starts then takes it for alive, and waits in vain.
        file = self.folder / "exec" / "containerd" / "containerd.pid"
        if file.exists():
            with contextlib.suppress(psutil.NoSuchProcess):
                _, alive = psutil.wait_procs([psutil.Process(int(file.read_text()))], timeout=10)
                assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
            file.unlink(missing_ok=True)

    def restart(self, *, live_restore: bool = False) -> None:
        self.stop()
        self.start(live_restore=live_restore)

    def freeze(self) -> None:
        """It keeps its sockets open and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def clean(self) -> None:
        """Removes every container; the images stay."""
        with_client(self.address, _remove_containers)

    def close(self) -> None:
        """Removes everything of it from this machine."""
        if self._process is None or self._process.poll() is not None:
            self._process = None
            self.start()  # only it knows its containers
        self.clean()
        self.stop()
        remove_leftovers(self.folder)

    def _end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class BorrowedEngine(DockerEngineProcess):
    """An engine of the machine. What the tests make there is removed; it is not stopped."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self.address = address
        self.private = False
        self._before = with_client(address, lambda api: {each["Id"] for each in api.containers(all=True)})

    def clean(self) -> None:
        with_client(self.address, lambda api: _remove_containers(api, keep=self._before))

    def close(self) -> None:
        self.clean()
        shutil.rmtree(self.folder)


def with_client(address: str, use: Callable[[docker.APIClient], T]) -> T:
    """What `use` makes of a client."""
    api = docker.APIClient(address, version="auto", timeout=60)
    try:
        return use(api)
    finally:
        api.close()


def _remove_containers(api: docker.APIClient, keep: Collection[str] = ()) -> None:
    for each in api.containers(all=True):
        if each["Id"] not in keep:
            try:
                api.remove_container(each["Id"], force=True, v=True)
            except docker.errors.NotFound:
                continue


def answers(address: str) -> bool:
    """Whether an engine answers there."""
    if knock(address):
        return False
    try:
        return bool(with_client(address, lambda api: api.ping()))
    except (docker.errors.DockerException, requests.RequestException):
        return False


def load(address: str, archive: Path) -> None:
    """Loads an archive of images, unless it was."""

    def use(api: docker.APIClient) -> None:
        with archive.open("rb") as file:
            said = list(api.load_image(file))  # type: ignore[no-untyped-call]
            assert not any("error" in each for each in said), said

    with_client(address, use)


def make_bridge(folder: Path) -> str:
    """A network interface for an engine, with a subnet nobody has; empty where that is not allowed."""
    name = f"gn{secrets.token_hex(4)}"
    taken = {address.address.rpartition(".")[0] for each in psutil.net_if_addrs().values() for address in each}
    subnet = next(s for s in (f"10.213.{secrets.randbelow(256)}" for _ in range(1000)) if s not in taken)
    (folder / "bridge").write_text(name)
    for words in (f"link add {name} type bridge", f"addr add {subnet}.1/24 dev {name}", f"link set {name} up"):
        if shutil.which("ip") is None or subprocess.run(["ip", *words.split()], capture_output=True).returncode:
            _remove_bridge(folder)
            return ""
    return name


def _remove_bridge(folder: Path) -> None:
    file = folder / "bridge"
    if file.exists() and shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", file.read_text()], capture_output=True, check=False)
        file.unlink()


def remove_leftovers(folder: Path) -> None:
    """Ends what belongs to a folder, unmounts what is in it, removes it."""
    here = f"{folder}/"
    engine = [p for p in psutil.process_iter(["cmdline"]) if any(here in word for word in p.info["cmdline"] or ())]
    for process in engine:
        with contextlib.suppress(psutil.NoSuchProcess):
            # What runs in a container is a child of the engine's, and its words are its own.
            for child in (*process.children(recursive=True), process):
                if child.pid != os.getpid():
                    child.kill()
    _remove_bridge(folder)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(here)), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def remove_those_of_the_dead() -> None:
    """What test runs left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            owner = int((folder / "owner").read_text())
        except (OSError, ValueError):
            continue
        if not psutil.pid_exists(owner):
            remove_leftovers(folder)


def open_engine() -> DockerEngineProcess:
    """An engine with the tests' image in it; skips where there can be none."""
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    engine: DockerEngineProcess
    if os.getuid() == 0 and shutil.which("dockerd"):
        remove_those_of_the_dead()
        engine = DockerEngineProcess(folder)
        engine.bridge = make_bridge(folder)
        engine.start()
    else:
        address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        if not answers(address):
            shutil.rmtree(folder)
            pytest.skip(
                "no Docker: run the tests as root with docker.io installed, or start an engine and set DOCKER_HOST"
            )
        engine = BorrowedEngine(folder, address)
    load(engine.address, play_archive())
    return engine
