"""A registry of one image on loopback, as much of it as an engine asks for; it can be made slow or hang."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry(ThreadingHTTPServer):
    """Serves the image of an archive as `play:1`. While `held` is not set, blobs do not come."""

    daemon_threads = True

    def __init__(self, archive: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.held = threading.Event()
        self.held.set()
        self.asked: list[str] = []
        self.blobs: dict[str, bytes] = {}
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member) for member in tar}
            read = {name: file.read() for name, file in files.items() if file is not None}
        (entry,) = json.loads(read["manifest.json"])
        layers = [gzip.compress(read[name]) for name in entry["Layers"]]
        config = read[entry["Config"]]
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._kept("application/vnd.docker.container.image.v1+json", config),
                "layers": [self._kept("application/vnd.docker.image.rootfs.diff.tar.gzip", each) for each in layers],
            }
        ).encode()

    @property
    def reference(self) -> str:
        """What to pull."""
        return f"127.0.0.1:{self.server_port}/play:1"

    def _kept(self, kind: str, blob: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        self.blobs[digest] = blob
        return {"mediaType": kind, "size": len(blob), "digest": digest}


class _Answers(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        kind, _, which = self.path.removeprefix("/v2/").removeprefix("play/").partition("/")
        if self.path == "/v2/":
            self._send(200, "application/json", b"{}")
        elif kind == "manifests" and (which == "1" or which == _digest(self.server.manifest)):
            self._send(200, _MANIFEST, self.server.manifest)
        elif kind == "blobs" and which in self.server.blobs:
            self.server.held.wait()
            self._send(200, "application/octet-stream", self.server.blobs[which])
        else:
            self._send(
                404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            )

    do_HEAD = do_GET

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@contextmanager
def registry(archive: Path) -> Iterator[Registry]:
    """One that runs."""
    with Registry(archive) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.held.set()
            server.shutdown()
            thread.join()
