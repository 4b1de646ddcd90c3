"""The console's screen, from the first frame to how it was left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from gamenode_console.options import Farewell, Options
from gamenode_console.program.running import Stage
from gamenode_console.terminal.profile import profile
from gamenode_console.terminal.watch import is_gone, when_gone
from gamenode_pipelines.errors import Code, GameNodeError

#: Seconds after which nothing of a console that was asked to end is left.
DEADLINE = 4.5


def show(stage: Stage) -> Farewell:
    """Shows the console until it is left. Raises GameNodeError where it broke."""
    terminal = profile(stage.env)
    if not terminal.able:
        term = stage.env.get("TERM") or "not set"
        raise GameNodeError(
            Code.INVALID_ARGUMENT,
            f"this terminal can show no screens (TERM is {term}); where it can, set TERM=xterm-256color, "
            "and where it cannot there is `gamenode`",
        )
    for name, value in terminal.environment().items():
        os.environ.setdefault(name, value)
    # Textual reads its environment when it is imported, so whatever imports it comes here.
    from gamenode_console.app import ConsoleApp
    from gamenode_console.keys import checked_keymap

    settings = stage.settings
    theme = terminal.theme if terminal.colourless else settings.theme or terminal.theme
    options = Options(
        utf8=terminal.utf8,
        rate=terminal.rate,
        read_only=settings.read_only,
        theme=theme,
        remote=terminal.remote,
        keymap=checked_keymap(dict(settings.keys)),
        state_dir=stage.state_dir,
    )
    app = ConsoleApp(
        stage.core,
        stage.world,
        clock=stage.clock,
        options=options,
        started=stage.begin,
        broken=lambda: stage.core.failure,
    )
    ask = end_with_signals(app.hang_up, at_last=app.let_go)
    when_gone(0, ask)
    try:
        farewell = app.run(mouse=options.mouse)
    finally:
        app.let_go()
    if (error := app.failure) is not None:
        raise GameNodeError(
            Code.INTERNAL,
            f"the screen broke ({_in_a_line(error)}), and nothing else did: what runs goes on; see {stage.log}",
        )
    return farewell or (Farewell.HANGUP if is_gone(0) else Farewell.LEAVE_RUNNING)


def _in_a_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def end_with_signals(
    hang_up: Callable[[], None], *, at_last: Callable[[], None] = lambda: None, deadline: float = DEADLINE
) -> Callable[[], None]:
    """A terminal that goes away, and whoever asks politely, end the console, and the process by the deadline.

    A screen that hangs loses nothing by that: the standby serves from then on. `at_last` is called before the process
    is ended so. What is returned asks for the end as a signal does, from any thread.
    """

    def end() -> None:
        at_last()
        os._exit(0)

    def ask() -> None:
        timer = threading.Timer(deadline, end)
        timer.daemon = True
        timer.start()
        hang_up()

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ask())
    return ask
