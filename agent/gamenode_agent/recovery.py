"""Puts the journal's word that an attempt may have run together with what the supervisor knows of it. Pure."""

from __future__ import annotations

from gamenode_agent.supervisor.client import AttemptReport
from gamenode_pipelines.recovery import Adopt, Decision, Evidence, Harvest, Lost, Phase, Respawn, decide

__all__ = ["Adopt", "Decision", "Harvest", "Lost", "Respawn", "judge"]


def judge(report: AttemptReport, *, same_boot: bool) -> Decision:
    """What becomes of an attempt that the journal has as started and not ended.

    `same_boot`: the host has not been restarted since. The supervisor leaves a note before it starts anything, so that
    none proves that nothing was started; but a note made just before a power cut may be gone, so on another boot it
    proves nothing.
    """
    may_have_started = report.may_have_started or not same_boot
    return decide(Evidence(Phase(report.phase), same_boot=same_boot, may_have_started=may_have_started))
