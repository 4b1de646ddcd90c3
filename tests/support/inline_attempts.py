"""An attempt of an inline step without the machinery around it: what it notes, says and prints is kept in memory.

`Attempted` outlives the handle, as the files of a real attempt outlive its agent: `again` is the attempt as the next
agent finds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gamenode_agent.clock import BootClock
from gamenode_agent.engines.containers import ContainerEngine
from gamenode_agent.engines.inline import InlineStep, Stop
from gamenode_agent.journal import Attempt
from gamenode_agent.steps import KINDS, StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code
from gamenode_pipelines.plan import Plan, StepPlan, StopPolicy
from gamenode_pipelines.tasks import NodeFacts, Task

CLUSTER = "cluster"
FIRST = Attempt("task", 1, "a", 1)


class FakeHandle:
    """A Handle in memory."""

    def __init__(self, key: Attempt, clock: BootClock) -> None:
        self.key = key
        self.resumed = False
        self.same_boot = True
        self.started_at = clock.now()
        self.notes: dict[str, Any] = {}
        self.output = b""
        #: (stream, data) as it was written.
        self.writes: list[tuple[int, bytes]] = []
        self.said: list[str] = []
        self.full = False

    def note(self, **facts: Any) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.notes.update(json.loads(json.dumps(facts)))

    def say(self, text: str) -> None:
        self.said.append(text)

    def write(self, data: bytes, stream: int, time: float) -> None:
        assert data
        assert time > 0
        self.output += data
        self.writes.append((stream, data))

    @property
    def written(self) -> int:
        return len(self.output)

    def again(self, *, same_boot: bool = True) -> FakeHandle:
        """The same attempt, taken up by the next agent."""
        self.resumed = True
        self.same_boot = same_boot
        return self


class Bench:
    """Makes steps and their attempts for one engine."""

    def __init__(self, engine: ContainerEngine | None, **changes: Any) -> None:
        self.tools = Tools(BootClock.from_wall(), CLUSTER, "node", "eu-1", engine, (27000, 27999), **changes)

    def step(
        self,
        kind: str,
        with_: Mapping[str, Any],
        *,
        key: Attempt = FIRST,
        env: Mapping[str, str] | None = None,
        stop: StopPolicy | None = None,
        timeout: float = 0.0,
        workspace: str = "/work",
    ) -> InlineStep:
        """The step as its kind makes it of a plan."""
        plan_step = StepPlan(
            key.step_id, kind, env=env or {}, with_=settings(with_), stop=stop or StopPolicy(), timeout=timeout
        )
        plan = Plan("p", 1, (plan_step,))
        task = Task(id=key.task_id, run_id="run", node=NodeFacts(id="node", name="eu-1"), steps={}, fence=key.fence)
        context = StepContext(key, task, plan, plan_step, workspace, "/nowhere", self.tools)
        request = KINDS[kind](context)
        found: InlineStep = request.step  # type: ignore[union-attr]
        return found

    def handle(self, key: Attempt = FIRST) -> FakeHandle:
        """A new attempt."""
        return FakeHandle(key, self.tools.clock)  # type: ignore[arg-type]


def stop(*, force: bool = False, code: Code = Code.CANCELLED, policy: StopPolicy | None = None) -> Stop:
    """Why an attempt is ended."""
    return Stop(code, "cancelled by a test", force, policy or StopPolicy())


def settings(value: Any) -> Any:
    """Lists as a plan has them."""
    if isinstance(value, list | tuple):
        return tuple(map(settings, value))
    if isinstance(value, Mapping):
        return {name: settings(item) for name, item in value.items()}
    return value
