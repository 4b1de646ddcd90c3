"""`python -m gamenode_console.program`: the same as gamenode-console."""

from __future__ import annotations

from gamenode_console.program import main

main()
