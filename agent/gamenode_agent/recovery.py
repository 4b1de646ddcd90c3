"""Puts the journal's word that an attempt may have run together with what carried it out knows of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.supervisor.client import AttemptReport
from gamenode_agent.supervisor.client import Phase as Reported
from gamenode_pipelines.recovery import Adopt, Decision, Evidence, Harvest, Lost, Phase, Respawn, decide

__all__ = ["Adopt", "Harvest", "Lost", "Respawn", "Resume", "judge"]


@dataclass(frozen=True, slots=True)
class Resume:
    """The agent carries it out itself: take it up again where it got to, which its kind finds out."""


def judge(report: AttemptReport, *, same_boot: bool, inline: bool = False) -> Decision | Resume:
    """What becomes of an attempt that the journal has as started and not ended.

    `same_boot`: the host has not been restarted since. A note is left before anything is started, so that none proves
    that nothing was started; but a note made just before a power cut may be gone, so on another boot it proves nothing.
    `inline`: the agent carries out this kind of step itself, and the kind knows how to find out what there is of it.
    """
    if report.lost:
        return Lost(report.lost)
    if report.phase is Reported.INTERRUPTED:
        return Resume()
    if inline and report.phase is Reported.UNKNOWN and not same_boot:
        return Resume()
    may_have_started = report.may_have_started or not same_boot
    return decide(Evidence(Phase(report.phase), same_boot=same_boot, may_have_started=may_have_started))
