"""A server's data dir: what is where, who holds it, and the file that tells clients where the server is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.locks import Lock, lock_file
from gamenode_server.identity.files import sync_folder, write_private


@dataclass(frozen=True, slots=True)
class Place:
    """Paths inside one data dir."""

    data_dir: Path

    @property
    def lock(self) -> Path:
        """Held by the server that serves this data dir."""
        return self.data_dir / "server.lock"

    @property
    def server_file(self) -> Path:
        """Where the running server can be reached."""
        return self.data_dir / "server.json"

    @property
    def own(self) -> Path:
        """What belongs to the server only; the agent has a folder of its own."""
        return self.data_dir / "server"

    @property
    def database(self) -> Path:
        """The store."""
        return self.own / "gamenode.db"

    @property
    def identity(self) -> Path:
        """The cluster's keys."""
        return self.own / "identity"

    @property
    def logs(self) -> Path:
        """Logs of steps."""
        return self.own / "logs"

    @property
    def artifacts(self) -> Path:
        """Contents that are kept, and those that are coming in."""
        return self.own / "artifacts"

    @property
    def checkpoints(self) -> Path:
        """Marks of the audit log."""
        return self.own / "audit.checkpoints"

    @property
    def ports(self) -> Path:
        """The ports that were picked for port 0, kept so that agents find a restarted server."""
        return self.own / "ports.json"

    @property
    def standby_lock(self) -> Path:
        """Held by the standby that waits for the server's lock."""
        return self.data_dir / "standby.lock"

    @property
    def standby_settings(self) -> Path:
        """What an embedded server leaves to its standby; without it a standby ends."""
        return self.own / "standby.json"

    @property
    def stopped(self) -> Path:
        """The mark that the server was stopped for good, and no standby is to serve."""
        return self.own / "stopped"

    def take(self, held: Lock | None = None) -> Lock:
        """Makes the folders and takes the lock, or takes over the one that this process holds already.

        Raises GameNodeError: STATE_CONFLICT naming the pid of the server that has it, PERMISSION_DENIED where the data
        dir cannot be used.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = held or lock_file(self.lock, what=f"the data dir {self.data_dir}")
            try:
                self.own.mkdir(exist_ok=True, mode=0o700)
                self.stopped.unlink(missing_ok=True)
                self.standby_settings.unlink(missing_ok=True)
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise GameNodeError(
                Code.PERMISSION_DENIED, f"the data dir {self.data_dir} cannot be used: {error.strerror or error}"
            ) from error
        return lock

    def publish(
        self,
        *,
        version: str,
        listen: str,
        join_listen: str,
        control_socket: Path,
        control_listen: str,
        metrics_listen: str = "",
    ) -> None:
        """Tells clients where the server is."""
        document = {
            "pid": os.getpid(),
            "version": version,
            "listen": listen,
            "join_listen": join_listen,
            "control_socket": str(control_socket),
            "control_listen": control_listen or None,
            "metrics_listen": metrics_listen or None,
        }
        ports = {"listen": listen, "join_listen": join_listen, "control_listen": control_listen}
        write_private(self.ports, json.dumps(ports).encode())
        write_private(self.server_file, json.dumps(document, indent=2).encode() + b"\n")

    def withdraw(self) -> None:
        """The server is no longer there."""
        self.server_file.unlink(missing_ok=True)
        sync_folder(self.data_dir)

    def mark_stopped(self) -> None:
        """From now on, until the next start, no standby serves here."""
        write_private(self.stopped, b"")

    def last_ports(self) -> dict[str, str]:
        """The addresses of the last start, by setting; empty where there was none."""
        try:
            document = json.loads(self.ports.read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in document.items()} if isinstance(document, dict) else {}
