"""gamenode-console without a screen: everything else is the real program. `python -m support.headless_console FLAGS`.

Prints `live embedded` or `live attached` whenever it has a connection, and `lost`. SIGUSR1 leaves and stops the server,
SIGUSR2 leaves it running; SIGHUP and SIGTERM are what they are for the console.
"""

from __future__ import annotations

import os
import queue
import signal
import sys

from gamenode_console.model.world import LinkState
from gamenode_console.options import Farewell
from gamenode_console.program.running import Stage, run
from gamenode_console.settings import ConsoleSettings
from gamenode_proto.process.settings import load

FAREWELLS = {
    signal.SIGUSR1: Farewell.STOP_SERVER,
    signal.SIGUSR2: Farewell.LEAVE_RUNNING,
    signal.SIGHUP: Farewell.HANGUP,
    signal.SIGTERM: Farewell.HANGUP,
}


def show(stage: Stage) -> Farewell:
    """Looks at the world ten times a second, as a screen does."""
    told: queue.SimpleQueue[Farewell] = queue.SimpleQueue()
    for number, farewell in FAREWELLS.items():
        signal.signal(number, lambda _number, _frame, farewell=farewell: told.put(farewell))
    stage.begin()
    shown = ""
    while True:
        stage.world.take()
        link = stage.world.link
        text = (
            f"live {'embedded' if link.embedded else 'attached'}" if link.state is LinkState.LIVE else link.state.value
        )
        if text != shown:
            print(text, flush=True)
            shown = text
        try:
            return told.get(timeout=0.1)
        except queue.Empty:
            continue


def main() -> int:
    """Flags are `--name value`, of the console's settings."""
    words = sys.argv[1:]
    names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
    flags = dict(zip(names, words[1::2], strict=True))
    return run(load(ConsoleSettings, flags=flags, env=os.environ), flags=flags, env=os.environ, show=show)


if __name__ == "__main__":
    sys.exit(main())
