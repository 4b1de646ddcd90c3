"""gamenode-console without a server: all but the core is the real program. `python -m support.desk_program FLAGS`.

It shows the desk's world. `?` does what `DESK_DEED` names, of what can go wrong in a console, and logs that it begins.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gamenode_console.core.life import Life
from gamenode_console.model.world import LinkState
from gamenode_console.program import main, running

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


class DeskCore:
    """In the place of the core thread. Textual is imported as late as in the program, which prepares for it."""

    def __init__(self, life: Life) -> None:
        self._world = life._world
        self.failure: BaseException | None = None

    def start(self) -> None:
        """The first frame is there: everything is known at once."""
        from gamenode_console.app import ConsoleApp
        from support.desk import filled_world

        filled = filled_world()
        self._world.put_nodes(filled.node_list(), snapshot=True)
        self._world.put_runs(filled.run_list(), snapshot=True)
        assert filled.status is not None
        self._world.put_status(filled.status)
        self._world.set_link(state=LinkState.LIVE, embedded=True)
        ConsoleApp.action_help = _do  # type: ignore[method-assign, assignment]

    def spawn(self, feed: object) -> DeskCore:
        """No feed has anything to tell."""
        return self

    def cancel(self) -> None:
        """Of a feed."""

    def stop(self, grace: float) -> bool:
        """It has ended."""
        return True


def _raise(error: Exception) -> None:
    raise error


def _noise(_: ConsoleApp) -> None:
    """Every way in which something in the process says something."""
    os.write(1, b"NOISE of descriptor 1\n")
    os.write(2, b"NOISE of descriptor 2\n")
    print("NOISE of print")
    warnings.warn("NOISE of warnings", stacklevel=1)
    subprocess.run(["sh", "-c", "echo NOISE of a process; echo NOISE of its errors >&2"], check=True)
    libc = ctypes.CDLL(None)
    libc.puts(b"NOISE of the C library")
    libc.fflush(None)
    threading.Thread(target=_raise, args=(ValueError("NOISE of a thread"),)).start()


def _end_core(app: ConsoleApp) -> None:
    core: Any = app.core
    core.failure = SystemError("the core cannot go on")


def _sleep_deaf(_: ConsoleApp) -> None:
    """The screen's thread hangs where no signal wakes it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    time.sleep(600)


def _spin(_: ConsoleApp) -> None:
    while True:
        pass


DEEDS: dict[str, Callable[[ConsoleApp], object]] = {
    "nothing": lambda app: None,
    "action": lambda app: _raise(ValueError("the [view] broke")),
    "callback": lambda app: app.call_later(_raise, ValueError("the callback broke")),
    "timer": lambda app: app.set_timer(0.01, lambda: _raise(ValueError("the timer broke"))),
    "memory": lambda app: _raise(MemoryError()),
    "core": _end_core,
    "noise": _noise,
    "deaf": _sleep_deaf,
    "spin": _spin,
    "copy": lambda app: app.keeping.copy("what is copied"),
}


def _do(app: ConsoleApp) -> None:
    os.write(2, b"the deed begins\n")
    DEEDS[os.environ["DESK_DEED"]](app)


if __name__ == "__main__":
    running.CoreThread = DeskCore  # type: ignore[misc, assignment]
    main()
