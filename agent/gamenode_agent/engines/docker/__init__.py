"""Docker behind the engine's seam. The only package that imports `docker`, and late: it costs 11 MB.

engine    the seam's methods, put together from the rest
watch     finds the engine, follows its events, finds it again
finding   where an engine may be, and what is wrong where none answers
doors     its Unix socket
calls     requests in threads; errors in our words; what changes something is carried through
feeds     a thread that reads a stream, for a loop that reads it as it can
creation  a ContainerSpec as the engine wants it          reading   what the engine says, as our records
logs      a container's log over outages                  lines     frames, marks, and where to go on
transfers pull and load                                   usage     CPU and memory from control groups
"""

from __future__ import annotations

from gamenode_agent.engines.docker.engine import DockerEngine


def open_engine(address: str = "", *, retry: float = 1.0) -> DockerEngine:
    """The engine at `address`, or at DOCKER_HOST, or at the usual sockets; it need not be there yet.

    `retry` is the longest time in seconds between two looks for one that is away.
    """
    return DockerEngine(address, retry=retry)
