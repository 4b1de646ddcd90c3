"""A second, tiny process that owns what steps run, so that no fate of the agent's ever touches it.

Two halves that share only `protocol`:

- the process itself: `main`, `service`, `attempts`, `starting`, `output`, `masking`, `processes`, `cgroups`, `records`,
  `recovery`, `loop`. Standard library only, one thread, no asyncio, at most 16 MB.
- the agent's side of its socket: `client`, `launch`, `requests`.
"""

from __future__ import annotations
