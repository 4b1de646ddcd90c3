"""The entry point of gamenode-server: quick about its version, and no traceback for anybody.

The commands are in `commands`, which is imported only when one is called.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the program and exits with its code."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"gamenode-server {version('gamenode')}\n")
        return
    from gamenode_server.commands import run

    sys.exit(run())
