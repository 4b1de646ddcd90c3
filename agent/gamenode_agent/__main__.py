"""`python -m gamenode_agent`."""

from __future__ import annotations

from gamenode_agent.cli import main

main()
