"""`python -m gamenode_server`: the same as gamenode-server."""

from __future__ import annotations

from gamenode_server.cli import main

if __name__ == "__main__":
    main()
