"""The step kind `game.gate`: waits until few enough players are in a game server.

A server that does not answer, or does not say how many, is not empty. Before the gate opens the server is locked, where
there is a command for that, and asked once more: who came in between keeps it shut. Players are told once; the lock
may be sent again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.games.errors import Garbled, NotAnswering
from gamenode_agent.games.query import query
from gamenode_agent.games.rcon import console
from gamenode_agent.games.server_status import ServerStatus
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError

#: Seconds between two looks, and what one question or command may take.
LOOK_EVERY: Final = 5.0
ONE_QUESTION: Final = 2.0
ONE_COMMAND: Final = 10.0


@dataclass(frozen=True, slots=True)
class GameGate:
    """One attempt, with the typed fields of its kind. `every` is in seconds."""

    tools: Tools
    values: dict[str, Any]
    every: float = LOOK_EVERY

    async def run(self, attempt: Handle) -> Result:
        """Looks until the gate opens. Raises GATE_DEADLINE, and what a console says that refuses us."""
        said = ""
        while True:
            found, reason = await self._look()
            if not reason:
                reason = await self._lock(attempt)
                if not reason:
                    found, reason = await self._look() if self.values["lock_command"] else (found, "")
                if not reason:
                    attempt.say(f"the gate is open: {found} in")
                    return _result(found)
            if reason != said:
                said = reason
                attempt.say(reason)
            if found:
                await self._announce(attempt)
            left = self._left(attempt)
            if left is not None and left <= 0:
                return await self._too_late(attempt, found, reason)
            await asyncio.sleep(self.every if left is None else min(self.every, left))

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled; what was sent cannot be taken back."""

    async def _look(self) -> tuple[int | None, str]:
        """How many are in (None: unknown), and why the gate stays shut; empty where it need not."""
        values = self.values
        try:
            status = await query(values["protocol"], values["host"], values["port"], seconds=ONE_QUESTION)
        except (NotAnswering, Garbled) as error:
            return None, f"how many are in is not known: {error.message}"
        found = counts(status, ignore_bots=values["ignore_bots"])
        if found is None:
            return None, "how many are in is not known: the server does not say"
        most = values["players"]
        return found, "" if found <= most else f"{found} in, at most {most} may be"

    async def _lock(self, attempt: Handle) -> str:
        """Lets nobody in any more; why that did not work, where it may yet."""
        command = self.values["lock_command"]
        return await self._send(attempt, command) if command else ""

    async def _announce(self, attempt: Handle) -> None:
        command = self.values["announce"]
        if command and not attempt.notes.get("announced"):
            attempt.note(announced=True)
            problem = await self._send(attempt, command)
            if problem:
                attempt.say(problem)

    async def _send(self, attempt: Handle, command: str) -> str:
        values, rcon = self.values, self.values["rcon"]
        protocol, port = rcon["protocol"] or values["protocol"], rcon["port"] or values["port"]
        password = rcon["password"]
        attempt.say(f"> {command.replace(password, '********')}")
        try:
            async with console(protocol, values["host"], port, password, seconds=ONE_COMMAND) as remote:
                await remote.command(command)
        except (NotAnswering, Garbled) as error:
            return f"the command did not arrive: {error.message}"
        return ""

    def _left(self, attempt: Handle) -> float | None:
        deadline = self.values["deadline"]
        return None if deadline is None else attempt.started_at + deadline - self.tools.clock.now()

    async def _too_late(self, attempt: Handle, found: int | None, reason: str) -> Result:
        seconds = self.values["deadline"]
        if self.values["on_deadline"] != "force":
            raise GameNodeError(
                Code.GATE_DEADLINE,
                f"the gate did not open within {seconds:g} s: {reason}",
                details={"deadline": f"{seconds:g}", "players": "" if found is None else str(found)},
            )
        problem = await self._lock(attempt)
        if problem:
            attempt.say(problem)
        attempt.say(f"going on after {seconds:g} s all the same: {reason}")
        return _result(found, forced=True)


def game_gate(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    return context.inline(GameGate(context.tools, context.values()))


def counts(status: ServerStatus, *, ignore_bots: bool) -> int | None:
    """How many count; bots that a server does not tell apart are players. None: unknown."""
    if status.players is None or not ignore_bots:
        return status.players
    return max(0, status.players - (status.bots or 0))


def _result(found: int | None, *, forced: bool = False) -> Result:
    return Result(outputs={"players": "" if found is None else str(found), "forced": "true" if forced else "false"})
