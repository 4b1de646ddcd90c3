"""The step kind `game.rcon`: commands over a game server's remote console, each sent once.

Whether a command arrived cannot be asked afterwards. So the attempt notes that it begins to send, and one that is taken
up again with that note is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gamenode_agent.engines.inline import Handle, InlineRequest, LostTrack, Result, Stop
from gamenode_agent.games.rcon import console
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools

#: How long connecting, and each command, may take; seconds.
ONE_COMMAND = 10.0
#: How much of the last answer is an output.
LONGEST_REPLY = 4096
_HIDDEN = "********"


@dataclass(frozen=True, slots=True)
class GameRcon:
    """One attempt."""

    tools: Tools
    protocol: str
    host: str
    port: int
    password: str = field(repr=False)
    commands: tuple[str, ...] = field(repr=False)

    async def run(self, attempt: Handle) -> Result:
        """Sends the commands in their order; the answers go to the log, the last is the output `reply`."""
        if attempt.notes.get("sending"):
            raise LostTrack(f"the agent ended while it sent commands to {self.host}:{self.port}")
        answer = ""
        async with console(self.protocol, self.host, self.port, self.password, seconds=ONE_COMMAND) as remote:
            for command in self.commands:
                attempt.note(sending=True)
                attempt.say(f"> {self._hidden(command)}")
                answer = self._hidden(await remote.command(command))
                self._show(attempt, answer)
        return Result(outputs={"reply": answer.strip()[:LONGEST_REPLY]})

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """What was sent cannot be taken back, and the connection ends with `run`."""

    def _show(self, attempt: Handle, answer: str) -> None:
        if answer.strip():
            attempt.write(answer.encode("utf-8", "replace").rstrip() + b"\n", 1, self.tools.clock.now())

    def _hidden(self, text: str) -> str:
        """Without the password: a server that lists its variables tells it too."""
        return text.replace(self.password, _HIDDEN) if self.password else text


def game_rcon(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values = context.values()
    return context.inline(
        GameRcon(
            context.tools,
            values["protocol"],
            values["host"],
            values["port"],
            values["password"],
            values["commands"],
        )
    )
