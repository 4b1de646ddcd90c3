"""Named places where a test can make a process fail.

`GAMENODE_FAILPOINTS="outbox.committed=kill;store.commit=error:3;session.frame=sleep:0.5"`: an action at each name,
with an optional argument. `kill` ends the process with SIGKILL at its Nth passing (default 1), `error` raises OSError
at the Nth passing only, `sleep` delays every passing by so many seconds. Without the variable a failpoint costs one
dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

VARIABLE = "GAMENODE_FAILPOINTS"
_ACTIONS = frozenset({"kill", "error", "sleep"})


@dataclass(slots=True)
class _Armed:
    action: str
    argument: float
    passed: int = 0


def _parse(text: str) -> dict[str, _Armed]:
    armed: dict[str, _Armed] = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, what = item.partition("=")
        action, _, argument = what.partition(":")
        if not equals or action not in _ACTIONS:
            raise ValueError(f"{VARIABLE}: {item!r} is not NAME=kill[:N] | error[:N] | sleep:SECONDS")
        armed[name] = _Armed(action, float(argument or 1))
    return armed


_armed = _parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Does what the environment asks for at `name`, which is usually nothing. Blocks the calling thread for `sleep`."""
    armed = _armed.get(name)
    if armed is None:
        return
    armed.passed += 1
    if armed.action == "sleep":
        time.sleep(armed.argument)
    elif armed.passed == int(armed.argument):
        if armed.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(f"failpoint {name}")
