"""The console's side of the control API: the only package of the console that knows gRPC.

`open_gateway(target)` gives a `Gateway` with `pipelines`, `state`, `containers`, `administration`, `notifiers` and
`artifacts`; every method is a call, or a stream that goes on after a lost connection. Whatever fails is a
GameNodeError.
"""

from __future__ import annotations

from gamenode_proto.transport import quiet_core

quiet_core()  # stderr is the person's, and gRPC looks at it when it is imported

from gamenode_console.gateway.connection import Gateway, open_gateway  # noqa: E402

__all__ = ["Gateway", "open_gateway"]
