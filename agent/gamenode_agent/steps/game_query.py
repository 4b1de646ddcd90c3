"""The step kind `game.query`: asks a game server until it answers. A server that is starting needs a moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.games.errors import Garbled, NotAnswering
from gamenode_agent.games.query import query
from gamenode_agent.games.server_status import ServerStatus
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError

#: How long a server is asked where the step has no time limit, seconds.
DEFAULT_PATIENCE = 30.0
#: How long the first question may take, how long any may, and the pause before the next. Each may take longer than the
#: one before: what was asked of a server that was just starting is lost, and one far away needs time.
FIRST_QUESTION, LONGEST_QUESTION, PAUSE = 0.5, 2.0, 0.5


@dataclass(frozen=True, slots=True)
class GameQuery:
    """One attempt. `patience` in seconds, from when the attempt first began."""

    tools: Tools
    protocol: str
    host: str
    port: int
    patience: float

    async def run(self, attempt: Handle) -> Result:
        """Asks again and again; raises STEP_TIMEOUT with the last reason."""
        where = f"{self.host}:{self.port}"
        said, question = "", FIRST_QUESTION
        while True:
            seconds = min(question, max(0.1, self._left(attempt)))
            try:
                status = await query(self.protocol, self.host, self.port, seconds=seconds)
            except (NotAnswering, Garbled) as error:
                if self._left(attempt) <= PAUSE:
                    raise GameNodeError(
                        Code.STEP_TIMEOUT,
                        f"the game server at {where} did not answer within {self.patience:g} s; the last try: {error}",
                        details={"timeout": f"{self.patience:g}"},
                    ) from error
                if error.message != said:
                    said = error.message
                    attempt.say(said)
            else:
                attempt.say(_line(where, status))
                return Result(outputs=_outputs(status))
            await asyncio.sleep(PAUSE)
            question = min(question * 2, LONGEST_QUESTION)

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""

    def _left(self, attempt: Handle) -> float:
        return attempt.started_at + self.patience - self.tools.clock.now()


def game_query(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(
        GameQuery(context.tools, values["protocol"], values["host"], values["port"], _patience(context.step.timeout))
    )


def _patience(timeout: float) -> float:
    """It gives up a moment before its time limit, which could not say why."""
    return timeout - min(1.0, timeout / 10) if timeout else DEFAULT_PATIENCE


def _outputs(status: ServerStatus) -> dict[str, str]:
    """What is unknown is empty, not zero."""
    return {
        "players": "" if status.players is None else str(status.players),
        "max_players": "" if status.max_players is None else str(status.max_players),
        "map": status.map,
        "name": status.name,
    }


def _line(where: str, status: ServerStatus) -> str:
    shown = [f"{where} answers: {status.name or 'no name'}"]
    if status.map:
        shown.append(f"map {status.map}")
    players = "unknown" if status.players is None else str(status.players)
    most = "" if status.max_players is None else f" of {status.max_players}"
    bots = f", {status.bots} of them bots" if status.bots else ""
    return ", ".join([*shown, f"players {players}{most}{bots}"])
