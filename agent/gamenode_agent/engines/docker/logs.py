"""A container's log, followed over outages of the engine without gap or repeat. One thread a log, held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from gamenode_agent.engines.containers import Container, LogLine
from gamenode_agent.engines.docker.calls import Calls
from gamenode_agent.engines.docker.errors import gone
from gamenode_agent.engines.docker.feeds import Feed
from gamenode_agent.engines.docker.finding import CALL_TIMEOUT
from gamenode_agent.engines.docker.lines import LogParser, Resume, since
from gamenode_agent.engines.docker.streams import Body
from gamenode_agent.engines.docker.watch import Watch
from gamenode_pipelines.errors import Code, GameNodeError

#: Memory that a line takes besides its bytes.
_LINE = 300
#: Seconds before a container whose log has ended, and which has not, is asked again.
_AGAIN = 0.2


class Logs:
    """Reads logs of the engine that the watch knows."""

    def __init__(self, watch: Watch, calls: Calls, inspect: Callable[[str], Awaitable[Container | None]]) -> None:
        self._watch = watch
        self._calls = calls
        #: Over outages.
        self._inspect = inspect

    async def lines(
        self, container: str, *, after: str, begin: float, tail: int, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        """See the seam."""
        self._watch.api()
        shown = await self._inspect(container)
        if shown is None:
            raise gone(container)
        last, whole = after, False
        while True:
            whole = not follow or shown.ended
            try:
                async with aclosing(self._once(shown, last, begin, tail, follow=not whole)) as lines:
                    async for line in lines:
                        last = line.mark
                        yield line
            except GameNodeError as error:
                if not follow or error.code is not Code.ENGINE_UNAVAILABLE:
                    raise
                whole = False
                await self._watch.settled()
            if whole:
                return
            before = shown.started_at
            again = await self._inspect(shown.id)
            if again is None:
                return
            if again.state == "created" or (again.running and again.started_at == before):
                # Not started yet, or the engine ended the log before the container: it does so when it is stopped.
                await self._watch.stirred(shown.id, within=_AGAIN)
            shown = again

    async def _once(
        self, shown: Container, last: str, begin: float, tail: int, *, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        api = self._watch.api()
        query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow), "tail": "all"}
        if last:
            query["since"] = since(last)
        elif tail >= 0:
            query["tail"] = str(tail)
        if begin and not last:
            query["since"] = f"{begin:.9f}"
        resume = Resume(last) if last else None
        source = LogSource(api, shown.id, query, tty=shown.tty)
        try:
            async with Feed(source, lambda line: len(line.data) + _LINE, name=f"docker-log-{shown.id[:12]}") as feed:
                while batch := await feed.get():
                    for line in batch:
                        if resume is None:
                            yield line
                        else:
                            for passed in resume.passing(line):
                                yield passed
                for line in resume.finish() if resume is not None else ():
                    yield line
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except Exception as error:
            raise self._calls.known(error, api, doing="find", subject=shown.name) from error


class LogSource:
    """One request for a log."""

    def __init__(self, api: Any, container: str, query: dict[str, Any], *, tty: bool) -> None:
        self._api = api
        self._container = container
        self._query = query
        self._parser = LogParser(tty=tty)
        self._body = Body()

    def batches(self) -> Iterator[Sequence[LogLine]]:
        """In a thread."""
        api, url = self._api, self._api._url("/containers/{0}/logs", self._container)
        ask = lambda: api.get(url, params=self._query, stream=True, timeout=(CALL_TIMEOUT, None))  # noqa: E731
        for data in self._body.read(ask):
            if data and (lines := self._parser.feed(data)):
                yield lines
        if lines := self._parser.finish():
            yield lines

    def stop(self) -> None:
        """From any thread."""
        self._body.stop()
