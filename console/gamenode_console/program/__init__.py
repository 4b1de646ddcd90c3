"""`gamenode-console`: quick about its version; the command is imported only when it is called."""

from __future__ import annotations

import gc
import sys

PROGRAM = "gamenode-console"


def main() -> None:
    """The entry point."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"{PROGRAM} {version('gamenode')}\n")
        return
    gc.disable()  # what is imported now is no garbage: to look for some is an eighth of the time to the first frame
    from gamenode_console.program.command import console

    console.main(prog_name=PROGRAM)
