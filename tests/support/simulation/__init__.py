"""A whole GameNode in one thread with a clock of its own: the real pure functions in shells made of dictionaries.

`loop` is time, `network` the sessions, `host` what runs on a node, `agent_shell` and `server_shell` the two programs,
`chaos` what goes wrong, `checker` what must hold all the same, and `world` one seed of it.
"""

from __future__ import annotations
