"""The agent's side of the supervisor: starts it or finds the one that runs, asks, and hears what happens.

Knows nothing of tasks. All of it runs on one event loop; callbacks are plain functions that must not block.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, assert_never

from gamenode_agent.supervisor import launch, protocol
from gamenode_agent.supervisor.requests import (
    Attempt,
    AttemptKey,
    AttemptReport,
    Capabilities,
    Key,
    Phase,
    Recoverable,
    SpawnRequest,
    error_from_json,
    text_of,
)
from gamenode_pipelines.errors import Code, GameNodeError

__all__ = [
    "Attempt",
    "AttemptKey",
    "AttemptReport",
    "Capabilities",
    "Phase",
    "Recoverable",
    "SpawnRequest",
    "Supervisor",
]

logger = logging.getLogger(__name__)

_START_TIMEOUT = 10.0
#: Recovery may wait for processes to end; everything else is answered within a turn of the supervisor's loop.
_CALL_TIMEOUT = 30.0
_KNOWS_STOP_COMMANDS = 2
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Supervisor:
    """A data dir's supervisor.

    `on_ended` gets every end that happens while connected, and any that `spawn` finds; what ended before is in
    `attempts()`. `on_output` gets a log's size when it grew, at most every 20 ms. `on_lost` is called when the
    connection breaks without `close`: then `connect` again, and `recover` what was running.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_ended: Callable[[AttemptReport], None] = lambda _report: None,
        on_output: Callable[[AttemptKey, int], None] = lambda _key, _size: None,
        on_lost: Callable[[], None] = lambda: None,
        start_timeout: float = _START_TIMEOUT,
        call_timeout: float = _CALL_TIMEOUT,
    ) -> None:
        self.on_ended = on_ended
        self.on_output = on_output
        self.on_lost = on_lost
        #: The supervisor's pid and its host's boot, once connected.
        self.pid = 0
        self.boot_id = ""
        self._version = protocol.VERSION
        self._data_dir = data_dir
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._link: _Link | None = None

    @property
    def connected(self) -> bool:
        """Whether a supervisor can be asked."""
        return self._link is not None and self._link.open

    async def connect(self) -> None:
        """Finds the supervisor that runs, or starts one.

        Raises GameNodeError: ENGINE_UNAVAILABLE if there is none to be had in time, VERSION_MISMATCH if the one that
        runs speaks another version and still has something to run.
        """
        if self.connected:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_timeout
        path = launch.socket_path(self._data_dir)
        while True:
            link = await self._open(path)
            if link is not None:
                hello = await self._hello(link)
                if hello is not None:
                    self._link, self.pid, self.boot_id = link, hello["pid"], hello["boot_id"]
                    self._version = hello["version"]
                    link.owner = self
                    return
            left = deadline - loop.time()
            if left <= 0:
                holder = await asyncio.to_thread(_holder, self._data_dir)
                raise GameNodeError(Code.ENGINE_UNAVAILABLE, f"the supervisor does not answer{holder}")
            await asyncio.to_thread(launch.start, self._data_dir, left)

    async def spawn(self, request: SpawnRequest) -> Attempt:
        """Starts an attempt, once: for a key that is known, says how it stands.

        One that cannot be started has ended, without an exit code, with the error. Whatever has ended already is given
        to `on_ended` too. An attempt that an earlier supervisor began is never started again: where it cannot be said
        how it ended, this raises SUPERVISOR_LOST, and `recover` says `unknown`.
        """
        if request.stop_argv and self._version < _KNOWS_STOP_COMMANDS:
            raise GameNodeError(
                Code.VERSION_MISMATCH,
                f"the supervisor with pid {self.pid} is older than this agent and knows no stop commands; it is"
                " replaced when nothing runs under it any more",
            )
        report = AttemptReport.from_json(await self._ask("spawn", request.to_json()))
        match report.phase:
            case Phase.ENDED:
                asyncio.get_running_loop().call_soon(self.on_ended, report)
            case Phase.UNKNOWN | Phase.INTERRUPTED:
                raise GameNodeError(Code.SUPERVISOR_LOST, "an earlier supervisor began this attempt and is gone")
            case Phase.RUNNING:
                pass
            case never:
                assert_never(never)
        return report

    async def stop(self, key: Key, *, force: bool = False, reason: str = "", code: Code = Code.CANCELLED) -> bool:
        """Begins to end an attempt: its signal, its grace, SIGKILL; with `force` SIGKILL at once.

        The end comes by `on_ended`, when nothing of it is left, with `code` and `reason` as its error. False if it does
        not run (any more).
        """
        message = {"key": text_of(key), "force": force, "reason": reason, "code": code.value}
        return bool((await self._ask("stop", message))["running"])

    async def attempts(self) -> list[AttemptReport]:
        """All that run, and all that ended and were not forgotten."""
        return _reports(await self._ask("list", {}))

    async def recover(self, attempts: Sequence[Recoverable]) -> list[AttemptReport]:
        """How each of these stands, in their order, from memory or from what is left on disk.

        What a supervisor that died left running is ended first. `unknown` with `may_have_started` False was never begun
        and may be spawned.
        """
        listed = [{"key": text_of(a.key), "directory": str(a.directory), "boot_id": a.boot_id} for a in attempts]
        return _reports(await self._ask("recover", {"attempts": listed}))

    async def forget(self, keys: Iterable[Key]) -> None:
        """The agent has these ends on its own disk; files are the agent's to remove."""
        await self._ask("forget", {"keys": [text_of(key) for key in keys]})

    async def capabilities(self) -> Capabilities:
        """What limits can be kept here, and how."""
        found = await self._ask("capabilities", {})
        return Capabilities(found["limits"], found["cgroup_version"], found["users"])

    async def shutdown(self, *, force: bool = False) -> None:
        """Ends the supervisor; `force`: also if something runs, which is stopped first. Raises STATE_CONFLICT."""
        link = self._link
        await self._ask("shutdown", {"force": force})
        if link is not None:
            link.owner = None
            await link.closed.wait()

    async def close(self) -> None:
        """Leaves the supervisor and everything it runs alone."""
        link, self._link = self._link, None
        if link is not None:
            link.owner = None
            link.close()
            await link.closed.wait()

    async def _ask(self, op: str, message: dict[str, Any]) -> dict[str, Any]:
        if self._link is None or not self._link.open:
            raise GameNodeError(Code.SUPERVISOR_LOST, "there is no connection to the supervisor")
        return await self._link.ask(op, message, self._call_timeout)

    async def _open(self, path: Path) -> _Link | None:
        try:
            _, link = await asyncio.get_running_loop().create_unix_connection(_Link, str(path))
        except (FileNotFoundError, ConnectionError):
            return None
        except OSError as problem:
            raise GameNodeError(Code.ENGINE_UNAVAILABLE, f"{path} cannot be reached: {problem}") from problem
        return link

    async def _hello(self, link: _Link) -> dict[str, Any] | None:
        """What the supervisor says of itself; None if it has made room for a new one, or is ending."""
        try:
            hello = await link.ask("hello", {"version": protocol.VERSION}, self._start_timeout)
            if hello["version"] >= protocol.VERSION_MIN and hello["version_min"] <= protocol.VERSION:
                return hello
            if hello["running"]:
                link.close()
                raise GameNodeError(
                    Code.VERSION_MISMATCH,
                    f"the supervisor with pid {hello['pid']} speaks version {hello['version']}, this agent "
                    f"{protocol.VERSION}, and it is not replaced while it runs {hello['running']} steps",
                )
            await link.ask("shutdown", {}, self._start_timeout)
            await link.closed.wait()
        except GameNodeError as problem:
            if problem.code is not Code.SUPERVISOR_LOST:
                raise
            link.close()
        return None

    def _lost(self, link: _Link) -> None:
        if self._link is link:
            self._link = None
            self.on_lost()


class _Link(asyncio.Protocol):
    """One connection: matches answers with questions, hands on what is pushed."""

    def __init__(self) -> None:
        self.owner: Supervisor | None = None
        self.open = False
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._incoming = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(GameNodeError(Code.SUPERVISOR_LOST, "the supervisor is gone"))
        self.closed.set()
        if self.owner is not None:
            self.owner._lost(self)

    async def ask(self, op: str, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._last += 1
        number = self._last
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting[number] = future
        message["id"], message["op"] = number, op
        if self._transport is None or not self.open:
            del self._waiting[number]
            raise GameNodeError(Code.SUPERVISOR_LOST, "there is no connection to the supervisor")
        self._transport.write(_encode(message).encode() + b"\n")
        timer = self._loop.call_later(seconds, self._give_up, future, op, seconds)
        try:
            return await future
        finally:
            timer.cancel()
            self._waiting.pop(number, None)

    def _give_up(self, future: asyncio.Future[dict[str, Any]], op: str, seconds: float) -> None:
        if not future.done():
            what = f"the supervisor did not answer {op!r} within {seconds:g} s"
            future.set_exception(GameNodeError(Code.SUPERVISOR_LOST, what))

    def data_received(self, data: bytes) -> None:
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is not None:
            future = self._waiting.pop(number, None)
            if future is None or future.done():
                return
            if "ok" in message:
                future.set_result(message["ok"])
            else:
                error = error_from_json(message["error"])
                future.set_exception(GameNodeError(error.code, error.message, details=error.details))
            return
        owner = self.owner
        if owner is None:
            return
        # By way of the loop, so that whoever awaits an answer that came before this hears the answer first.
        match message.get("push"):
            case "ended":
                self._loop.call_soon(owner.on_ended, AttemptReport.from_json(message["report"]))
            case "output":
                self._loop.call_soon(owner.on_output, AttemptKey.parse(message["key"]), message["size"])
            case other:
                logger.info("the supervisor says %r, which is not known here", other)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _reports(message: dict[str, Any]) -> list[AttemptReport]:
    return [AttemptReport.from_json(report) for report in message["attempts"]]


def _holder(data_dir: Path) -> str:
    try:
        pid = launch.lock_path(data_dir).read_text().strip()
    except OSError:
        return ""
    return f"; pid {pid} holds {launch.lock_path(data_dir)}" if pid else ""
