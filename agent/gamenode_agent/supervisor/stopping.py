"""The command that ends a step by the step's own means, before any signal does.

It runs as part of the attempt: same user, folder and limits, its output in the same log, its end awaited with the
rest. What it brings decides nothing; what still runs when its time is up gets the signal.
"""

from __future__ import annotations

from collections.abc import Callable

from gamenode_agent.supervisor import starting
from gamenode_agent.supervisor.cgroups import Group
from gamenode_agent.supervisor.loop import Loop
from gamenode_agent.supervisor.orders import Order
from gamenode_agent.supervisor.pipes import Pipes

#: Seconds between the signal and SIGKILL, for what the command has not ended.
AFTER_SIGNAL = 1.0


class StopCommand:
    """The stop command of one attempt. Does nothing where its order has none."""

    def __init__(self, order: Order, loop: Loop, took: Callable[[bytes, int], bool]) -> None:
        self._order = order
        self._pipes = Pipes(loop, took, order.masks)

    def start(self, devnull: int, marks: dict[str, str], group: Group | None) -> int:
        """Starts it; its pid, or 0 where there is none or it cannot be started, which the log says."""
        order = self._order
        if not order.stop_argv:
            return 0
        try:
            who = starting.account(order.user)
            env = starting.environment({**order.env, **order.stop_env}, marks, who)
            fds = (devnull, *self._pipes.open())
            pid = starting.start(order.stop_argv, env, order.cwd, fds, who=who, limits=order.limits, group=group)
        except (starting.CannotStart, OSError) as problem:
            why = problem.error["message"] if isinstance(problem, starting.CannotStart) else problem
            self._pipes.say(f"the stop command cannot be started: {why}\n".encode())
            self._pipes.close()
            return 0
        finally:
            self._pipes.close_other_ends()
        self._pipes.watch()
        return pid

    def drain(self) -> None:
        """Reads what is left of its output; it has ended."""
        self._pipes.drain()
