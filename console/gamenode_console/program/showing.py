"""The console's screen, from the first frame to how it was left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from gamenode_console.options import Farewell, Options
from gamenode_console.program.running import Stage
from gamenode_console.terminal.profile import profile
from gamenode_pipelines.errors import Code, GameNodeError

#: Seconds after which nothing of a console that was asked to end is left.
DEADLINE = 4.5


def show(stage: Stage) -> Farewell:
    """Shows the console until it is left. Raises GameNodeError where it broke."""
    terminal = profile(stage.env)
    for name, value in terminal.environment().items():
        os.environ.setdefault(name, value)
    from gamenode_console.app import ConsoleApp  # Textual reads its environment when it is imported

    settings = stage.settings
    options = Options(
        utf8=terminal.utf8,
        rate=terminal.rate,
        read_only=settings.read_only,
        theme=settings.theme or terminal.theme,
        remote=terminal.remote,
        keymap=dict(settings.keys),
        state_dir=stage.state_dir,
    )
    app = ConsoleApp(stage.core, stage.world, clock=stage.clock, options=options, started=stage.core.start)
    end_with_signals(app.hang_up)
    farewell = app.run(mouse=options.mouse)
    if app.return_code:
        raise GameNodeError(Code.INTERNAL, f"the screen ended with an error, and nothing else did; see {stage.log}")
    return farewell or Farewell.LEAVE_RUNNING


def end_with_signals(hang_up: Callable[[], None], *, deadline: float = DEADLINE) -> None:
    """A terminal that goes away, and whoever asks politely, end the console, and the process by the deadline.

    A screen that hangs loses nothing by that: the standby serves from then on.
    """

    def ended(_number: int, _frame: object) -> None:
        hang_up()
        timer = threading.Timer(deadline, os._exit, (0,))
        timer.daemon = True
        timer.start()

    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, ended)
