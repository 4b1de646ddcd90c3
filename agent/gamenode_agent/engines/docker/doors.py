"""Connections over a Unix socket that leave nothing open when nobody answers; those of `docker` do. Imported late."""

from __future__ import annotations

import socket
from typing import Any

from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        door = socket.socket(socket.AF_UNIX)
        try:
            door.settimeout(self.timeout)
            door.connect(self.unix_socket)
        except BaseException:
            door.close()
            raise
        self.sock = door


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        return _Connection(self.base_url, self.socket_path, self.timeout)  # type: ignore[arg-type] # a Timeout it is


class UnixDoors(UnixHTTPAdapter):
    """What `docker.APIClient` asks through, mounted in place of its own."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """The pool of this socket."""
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
            return pool


def use_unix_doors(api: Any, path: str, timeout: int, pool_size: int) -> None:
    """Makes a client for this socket use them."""
    api.mount("http+docker://", UnixDoors(f"http+unix://{path}", timeout, max_pool_size=pool_size))
