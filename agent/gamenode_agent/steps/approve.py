"""The step kind `approve`: waits until an operator has agreed, or refused.

The server asks, and tells what was said; it tells again until the step has ended, also an agent that was started anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.answers import Asking
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class Approve:
    """One attempt."""

    tools: Tools
    asking: Asking
    message: str
    by: str

    async def run(self, attempt: Handle) -> Result:
        """Waits for the answer. Raises REJECTED with who and why."""
        article = "an" if self.by[0] in "aeiou" else "a"
        attempt.say(f"waiting for the approval of {article} {self.by}" + (f": {self.message}" if self.message else ""))
        decision = await self.tools.answers.wait(self.asking)
        why = f": {decision.reason}" if decision.reason else ""
        if not decision.approved:
            raise GameNodeError(
                Code.REJECTED,
                f"rejected by {decision.by}{why}",
                details={"by": decision.by, "reason": decision.reason},
            )
        attempt.say(f"approved by {decision.by}{why}")
        return Result(outputs={"by": decision.by, "reason": decision.reason})

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def approve(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError."""
    values, key = context.values(), context.key
    asking = (key.task_id, key.fence, key.step_id)
    return context.inline(Approve(context.tools, asking, values["message"], values["by"] or "operator"))
