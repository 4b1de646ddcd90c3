"""Carries out one try to tell somebody: fills in the body, signs it, and sends it from a thread of its own.

The threads are daemons: a name service that hangs must not hold up the end of the server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.notifiers import command, messages, signing, webhook
from gamenode_server.notifiers.outcome import Outcome
from gamenode_server.notifiers.reading import checked_url
from gamenode_server.notifiers.spec import Notifier, Webhook

logger = logging.getLogger(__name__)

R = TypeVar("R")

#: Seconds beyond its timeout after which a try that does not end is left to itself.
LEFT_TO_ITSELF = 5.0


class Delivery:
    """A notifier with what its files held. Made once, when the server starts."""

    def __init__(self, notifier: Notifier, *, wall: Callable[[], float], version: str) -> None:
        """Reads the notifier's files. Raises GameNodeError that names the file, and never what is in it."""
        self.notifier = notifier
        self._wall = wall
        self._version = version
        self._url, self._key = "", None
        way = notifier.way
        if isinstance(way, Webhook):
            self._url = way.url or _read(notifier, "url-file", way.url_file, checked_url)
            if way.secret_file is not None:
                self._key = _read(notifier, "secret-file", way.secret_file, signing.key_of)

    async def send(self, event: messages.Document) -> Outcome:
        """Tells of an event, once. Raises nothing but for a bug."""
        wall = self._wall()
        try:
            work = self._work(event, wall)
        except GameNodeError as error:
            return Outcome(False, f"its body cannot be filled in: {error.message}", again=False)
        try:
            async with asyncio.timeout(self.notifier.timeout + LEFT_TO_ITSELF):
                return await _on_a_thread(work, name=f"notifier-{self.notifier.name}")
        except TimeoutError:
            return Outcome(False, f"no end of it within {self.notifier.timeout:g} s")

    def _work(self, event: messages.Document, wall: float) -> Callable[[], Outcome]:
        notifier, way = self.notifier, self.notifier.way
        if isinstance(way, Webhook):
            body = messages.body(notifier.body, event)
            headers = {
                **way.headers,
                **signing.signed(self._key, id=str(event["id"]), wall=wall, body=body),
                "Content-Type": notifier.content_type,
                "User-Agent": f"GameNode/{self._version}",
                "Connection": "close",
            }
            ca = str(way.ca_file) if way.ca_file is not None else None
            request = webhook.Post(self._url, headers, body, notifier.timeout, ca)
            return lambda: webhook.post(request, wall=wall)
        variables = {
            "GAMENODE_NOTIFIER": notifier.name,
            "GAMENODE_EVENT_ID": str(event["id"]),
            "GAMENODE_EVENT_TYPE": str(event["type"]),
        }
        given = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        return lambda: command.run(way.argv, given=given, variables=variables, timeout=notifier.timeout)


def _read(notifier: Notifier, key: str, file: object, parse: Callable[[str], R]) -> R:
    try:
        with open(str(file), encoding="utf-8") as opened:
            return parse(opened.read(65536).strip())
    except (OSError, UnicodeDecodeError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
    except ValueError as error:
        why = str(error)
    raise GameNodeError(Code.INVALID_ARGUMENT, f"notifier {notifier.name}: {key} {file} {why}")


async def _on_a_thread(work: Callable[[], R], *, name: str) -> R:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def done(result: R | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # one of the two

    def main() -> None:
        result: R | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(done, result, failed)
        except RuntimeError:
            logger.debug("the loop was closed before %s came back", name)

    threading.Thread(target=main, name=name, daemon=True).start()
    return await future
