"""The `gamenode` command: one file per group of commands, imported only when one of them is called.

`main` answers `--version` before click is imported. Knows no gRPC: that is the gateway's.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of `gamenode`."""
    if sys.argv[1:] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"gamenode {version('gamenode')}\n")
        return
    from gamenode_console.cli.root import root

    root.main(prog_name="gamenode")
