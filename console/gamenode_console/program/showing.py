"""The console's screen, from the first frame to how it was left."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from gamenode_console.options import Farewell, Options
from gamenode_console.program.running import Stage
from gamenode_console.terminal.profile import profile
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


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
    _end_with_signals(app)
    farewell = app.run(mouse=options.mouse)
    if app.return_code:
        raise GameNodeError(Code.INTERNAL, f"the screen ended with an error, and nothing else did; see {stage.log}")
    return farewell or Farewell.LEAVE_RUNNING


def _end_with_signals(app: ConsoleApp) -> None:
    """A terminal that goes away, and whoever asks politely, end the console; both leave everything running."""

    def ended(_number: int, _frame: object) -> None:
        app.hang_up()

    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, ended)
