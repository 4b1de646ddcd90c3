"""New certificates for nodes that have one: asked for over the agent port, in force once they are used."""

from __future__ import annotations

from collections.abc import Callable

from gamenode_server.audit import recording
from gamenode_server.audit.recording import Applier
from gamenode_server.identity import principals, standing
from gamenode_server.identity.ca import Cluster, new_serial
from gamenode_server.identity.certificates import read_csr


class Renewals:
    """Renews the caller's certificate. `life` is how long a new one is good for, in seconds."""

    def __init__(self, store: Applier, *, cluster: Cluster, wall: Callable[[], float], life: float) -> None:
        self._store = store
        self._cluster = cluster
        self._wall = wall
        self._life = life

    async def renew(self, csr_pem: str) -> tuple[str, str]:
        """The new certificate and the cluster's CA, PEM, for the node that makes the present call.

        The old certificate stays in force until the new one is used, so a lost reply can be asked for again. Raises
        GameNodeError: INVALID_ARGUMENT for a bad request, STATE_CONFLICT for a certificate that is not the newest.
        """
        caller = principals.current()
        audit = recording.prepare(caller, "/RenewCertificate", None)
        op = standing.issue(
            caller.node_id,
            read_csr(csr_pem),
            self._cluster.issue,
            serial=new_serial(),
            wall=self._wall(),
            life=self._life,
            audit=audit,
            shown_serial=caller.serial,
        )
        return await self._store.apply(op), self._cluster.ca_pem.decode()
