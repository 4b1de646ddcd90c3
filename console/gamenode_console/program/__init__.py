"""`gamenode-console`: quick about its version; the command is imported only when it is called."""

from __future__ import annotations

import sys

PROGRAM = "gamenode-console"


def main() -> None:
    """The entry point."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"{PROGRAM} {version('gamenode')}\n")
        return
    from gamenode_console.program.command import console

    console.main(prog_name=PROGRAM)
