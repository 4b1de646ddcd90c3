"""Every interval and deadline the server acts by, in seconds, so that tests can run at a fraction of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Intervals:
    """How long the server waits for what."""

    #: Between two heartbeats of an agent.
    heartbeat: float = 5.0
    #: Between two samples of a host.
    metrics: float = 5.0
    #: Silence after which a node is suspect, and after which it is offline.
    suspect: float = 20.0
    offline: float = 60.0
    #: After a start, added to `offline` before a node that has not come back is declared offline.
    start_grace: float = 60.0
    #: An assignment or a cancel that is not acknowledged is sent again.
    resend: float = 5.0
    #: How long a ticket may be on its way.
    ticket: float = 600.0
    #: How long the end of a run waits for its logs to be whole.
    log_settle: float = 10.0
    #: What a task may take beyond its timeouts before the server stops waiting for its silent node.
    task_grace: float = 30.0
    #: Between two checks of everything above.
    tick: float = 1.0
    #: Between two updates of one watcher.
    watch: float = 0.1
    #: Between two kept samples of a host's history.
    history: float = 15.0
    #: A Hello that cannot be served within this time is asked to come back.
    admission: float = 10.0
    #: What a node may take for a command, beyond the grace period it was given, and to begin an answer.
    command: float = 60.0
    answer: float = 10.0
    #: Between two rounds of deleting what is old.
    retention: float = 600.0

    def scaled(self, factor: float) -> Intervals:
        """Everything `factor` times as long; what only bounds a burst (`watch`) stays."""
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self) if f.name != "watch"})
