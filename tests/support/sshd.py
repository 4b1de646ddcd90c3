"""A real sshd on loopback, of this user alone: its own keys, its own port, and connections that can be cut."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from support.real_games import free_port
from support.waiting import until

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
"""


class Sshd:
    """The daemon, and how one gets in."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.port = port

    def words(self, command: Sequence[str], *, env: Mapping[str, str]) -> list[str]:
        """The command line of a client that runs a command in a terminal there."""
        settings = [f"{name}={value}" for name, value in env.items()]
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": str(self._folder / "known"),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        there = ["env", *settings, *command]
        key, port = str(self._folder / "user_key"), str(self.port)
        who = f"{getpass.getuser()}@127.0.0.1"
        return ["ssh", "-tt", "-F", "/dev/null", "-p", port, "-i", key, *flags, who, shlex.join(there)]

    def cut(self) -> int:
        """Ends every connection at once, without a word to either side; how many there were."""
        sessions = psutil.Process(int((self._folder / "pid").read_text())).children()
        for session in sessions:
            for process in [session, *session.children()]:  # with what it keeps the rights of root in
                if process.name().startswith("sshd"):
                    process.kill()
        return len(sessions)


@asynccontextmanager
async def sshd(folder: Path) -> AsyncIterator[Sshd]:
    """Starts one."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None, "these tests need sshd: install openssh-server"
    folder.mkdir()
    for name in ("host_key", "user_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        await asyncio.to_thread(subprocess.run, words, check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    config = folder / "config"
    config.write_text(_CONFIG.format(port=port, folder=folder))
    log = folder / "log"
    process = subprocess.Popen([program, "-D", "-f", str(config), "-E", str(log)])
    found = Sshd(folder, port)
    try:
        await until(lambda: (folder / "pid").exists() or process.poll() is not None, what="sshd")
        assert process.poll() is None, log.read_text()
        yield found
    finally:
        if process.poll() is None:
            found.cut()
            process.terminate()
        process.wait()
