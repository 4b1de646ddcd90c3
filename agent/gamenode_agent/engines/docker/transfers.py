"""Images that come from a registry or from an archive, with lines for a log on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from gamenode_agent.engines.containers import Progress
from gamenode_agent.engines.docker.calls import Calls
from gamenode_agent.engines.docker.feeds import Feed
from gamenode_agent.engines.docker.finding import CALL_TIMEOUT
from gamenode_agent.engines.docker.streams import Body
from gamenode_agent.engines.docker.watch import Watch
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock

#: Seconds between two lines of a log about bytes.
_EVERY = 2.0
_MIB = 1 << 20
#: Words of a registry that does not have the image, or will not say.
_MISSING = (
    "not found",
    "manifest unknown",
    "does not exist",
    "access denied",
    "name unknown",
    "unauthorized",
    "denied",
)


class Transfers:
    """Gets images through the engine that the watch knows."""

    def __init__(self, watch: Watch, calls: Calls, clock: Clock) -> None:
        self._watch = watch
        self._calls = calls
        self._clock = clock

    async def pull(self, reference: str, progress: Progress) -> None:
        """Cancelled, it ends the pull."""
        api = self._watch.api()
        told = Telling(progress, self._clock)
        async with Feed(PullSource(api, reference), len, name="docker-pull") as feed:
            try:
                while batch := await feed.get():
                    for said in batch:
                        if words := said.get("error"):
                            raise pull_failed(reference, str(words))
                        told.heard(said)
            except GameNodeError:
                raise
            except Exception as error:
                known = self._calls.known(error, api, doing="pull", subject=reference)
                if isinstance(known, GameNodeError) and known.code is not Code.ENGINE_UNAVAILABLE:
                    raise pull_failed(reference, str(getattr(error, "explanation", "") or known.message)) from error
                raise known from error

    async def load(self, archive: Path, progress: Progress) -> list[str]:
        """The names of what was in it, ids where it had none. Cancelled, it ends the upload."""
        api = self._watch.api()
        names: list[str] = []
        try:
            file = archive.open("rb")
        except OSError as error:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{archive} cannot be read: {error.strerror or error}"
            ) from error
        with file:
            async with Feed(LoadSource(api, file), len, name="docker-load") as feed:
                try:
                    while batch := await feed.get():
                        for said in batch:
                            if words := said.get("error"):
                                raise GameNodeError(
                                    Code.INVALID_ARGUMENT, f"{archive} is no archive of images: {str(words).strip()}"
                                )
                            line = str(said.get("stream") or "").strip()
                            if line:
                                progress(line)
                            if line.startswith(("Loaded image: ", "Loaded image ID: ")):
                                names.append(line.partition(": ")[2])
                except GameNodeError:
                    raise
                except Exception as error:
                    raise self._calls.known(error, api, doing="load", subject=str(archive)) from error
        if not names:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{archive} is no archive of images: nothing was loaded from it")
        return names


def pull_failed(reference: str, words: str) -> GameNodeError:
    """The registry's words, and what to do."""
    words = words.strip()
    if any(word in words.lower() for word in _MISSING):
        problem = f"image {reference} is in no registry this node can use: check its name and the node's login"
    else:
        problem = f"image {reference} cannot be pulled: check the network, or bring it with container.load"
    return GameNodeError(Code.IMAGE_MISSING, f"{problem} ({words})")


class Telling:
    """Turns what the engine says of a pull's layers into a few lines: what ended, and now and then how far it is."""

    def __init__(self, progress: Progress, clock: Clock) -> None:
        self._progress = progress
        self._clock = clock
        self._next = clock.now() + _EVERY
        self._bytes: dict[str, tuple[int, int]] = {}

    def heard(self, said: dict[str, Any]) -> None:
        """One document of the engine."""
        layer, status = str(said.get("id") or ""), str(said.get("status") or "")
        detail = said.get("progressDetail") or {}
        if not layer or status.startswith(("Pulling from", "Digest", "Status")):
            if status:
                self._progress(f"{layer}: {status}" if layer else status)
            return
        if status == "Downloading" and detail.get("total"):
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif status == "Download complete" and layer in self._bytes:
            self._bytes[layer] = (self._bytes[layer][1],) * 2
        elif status in ("Pull complete", "Already exists"):
            self._progress(f"{layer}: {status}")
        if self._bytes and self._clock.now() >= self._next:
            self._next = self._clock.now() + _EVERY
            here, whole = (sum(column) / _MIB for column in zip(*self._bytes.values(), strict=True))
            self._progress(f"downloaded {here:.0f} of {whole:.0f} MiB")


class PullSource:
    """The engine's documents about one pull."""

    def __init__(self, api: Any, reference: str) -> None:
        self._api = api
        self._reference = reference
        self._body = Body()

    def batches(self) -> Iterator[Sequence[dict[str, Any]]]:
        """In a thread."""
        import docker.auth
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(self._reference)
        registry, _ = docker.auth.resolve_repository_name(repository)
        header = docker.auth.get_config_header(self._api, registry)
        ask: Callable[[], Any] = lambda: self._api.post(  # noqa: E731
            self._api._url("/images/create"),
            params={"fromImage": repository, "tag": tag or "latest"},
            headers={"X-Registry-Auth": header} if header else {},
            stream=True,
            timeout=(CALL_TIMEOUT, None),
        )
        yield from documents(self._body, ask)

    def stop(self) -> None:
        """From any thread."""
        self._body.stop()


class LoadSource:
    """An archive on its way, and the engine's documents about it. The file is read piece by piece."""

    def __init__(self, api: Any, file: IO[bytes]) -> None:
        self._api = api
        self._file = file
        self._stopped = False
        self._body = Body()

    def batches(self) -> Iterator[Sequence[dict[str, Any]]]:
        """In a thread."""
        ask: Callable[[], Any] = lambda: self._api.post(  # noqa: E731
            self._api._url("/images/load"),
            data=self._pieces(),
            params={"quiet": "0"},
            headers={"Content-Type": "application/x-tar"},
            stream=True,
            timeout=(CALL_TIMEOUT, None),
        )
        yield from documents(self._body, ask)

    def stop(self) -> None:
        """From any thread; also in the middle of the upload."""
        self._stopped = True
        self._body.stop()

    def _pieces(self) -> Iterator[bytes]:
        while not self._stopped and (data := self._file.read(_MIB)):
            yield data
        if self._stopped:
            raise InterruptedError("the upload was ended")


def documents(body: Body, ask: Callable[[], Any]) -> Iterator[Sequence[dict[str, Any]]]:
    """The JSON documents of a stream, one a line."""
    pending = b""
    for data in body.read(ask):
        *lines, pending = (pending + (data or b"")).split(b"\n")
        if found := [json.loads(line) for line in lines if line.strip()]:
            yield found
    if pending.strip():
        yield [json.loads(pending)]
