"""Asks game servers who is in, whichever protocol they speak: `query` is all there is to know of this package for that.

Teeworlds is asked by our own code, the rest by opengsq (see opengsq_protocols).
"""

from __future__ import annotations

from gamenode_agent.games import opengsq_protocols, teeworlds
from gamenode_agent.games.errors import NotSendable
from gamenode_agent.games.server_status import ServerStatus

#: What can be asked, by name.
PROTOCOLS = frozenset({"teeworlds", *opengsq_protocols.PROTOCOLS})


async def query(protocol: str, host: str, port: int, *, seconds: float = 3.0) -> ServerStatus:
    """One question and its answer, or GameError after `seconds` at the most."""
    if protocol == "teeworlds":
        return await teeworlds.query(host, port, seconds=seconds)
    if protocol in opengsq_protocols.PROTOCOLS:
        return await opengsq_protocols.query(protocol, host, port, seconds=seconds)
    raise NotSendable(
        f"this agent does not know the game protocol {protocol!r}: it knows {', '.join(sorted(PROTOCOLS))}"
    )
