"""`python -m gamenode_console` is `gamenode`."""

from __future__ import annotations

from gamenode_console.cli import main

main()
