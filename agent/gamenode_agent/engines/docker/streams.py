"""The body of an answer that goes on and on, read in one thread and ended from another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: Bytes asked for at once.
PIECE = 65536


class Body:
    """One streaming answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: Any = None
        self._stopped = False

    def read(self, ask: Callable[[], Any]) -> Iterator[bytes | None]:
        """None once the engine has agreed, then the bytes as they come, until the end or `stop`.

        Raises what `requests`, `urllib3` and `docker` raise; after `stop`, nothing.
        """
        import docker.errors
        import requests

        try:
            answer = ask()
            with self._lock:
                self._answer = answer
                stopped = self._stopped
            if stopped:
                return
            try:
                answer.raise_for_status()
            except requests.HTTPError as error:
                docker.errors.create_api_error_from_http_exception(error)
            yield None
            while data := answer.raw.read1(PIECE):
                yield data
        except Exception:
            if not self._stopped:
                raise
        finally:
            if self._answer is not None:
                self._answer.close()

    def stop(self) -> None:
        """Wakes the thread that reads; from any thread, and before it began too."""
        with self._lock:
            self._stopped = True
            answer = self._answer
        if answer is not None:
            # The library says by exceptions that there is nothing left to wake.
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                answer.raw.shutdown()
