"""From what is reported of attempts to what has happened to their task, and what is to be done about it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gamenode_agent import recovery, steps
from gamenode_agent.engines.processes import as_attempt
from gamenode_agent.journal import Attempt
from gamenode_agent.runner.advance import Happened
from gamenode_agent.runner.outputs import read_outputs
from gamenode_agent.runner.starting import NO_LOG
from gamenode_agent.supervisor.client import AttemptReport, Phase
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import StepEnded, StepLost
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found out about a task's attempts: what happened, which never started, which to take up again where
    they got to, and which run that nobody may adopt.
    """

    happened: list[Happened] = field(default_factory=list)
    respawn: list[Attempt] = field(default_factory=list)
    resume: list[Attempt] = field(default_factory=list)
    kill: list[Attempt] = field(default_factory=list)


def end_of(task: Task, report: AttemptReport, *, directory: str, now: float) -> Happened:
    """How an attempt ended, at the time it did. `directory` is the attempt's own."""
    key = as_attempt(report.key)
    step = task.steps.get(key.step_id)
    at = min(now, max(report.ended_at, step.started_at if step is not None else now)) if report.ended_at else now
    if report.lost:
        return Happened(StepLost(key.step_id, key.attempt, report.lost, report.log), at)
    error, outputs = report.error, report.outputs
    if outputs is None:
        try:
            outputs = read_outputs(f"{directory}/{steps.OUTPUT_FILE}")
        except GameNodeError as unreadable:
            outputs = {}
            # A step that failed says why by itself; one that would have succeeded must not go on without its outputs.
            error = error or (None if report.exit_code else unreadable.error)
    body = StepEnded(
        key.step_id,
        key.attempt,
        exit_code=report.exit_code,
        error=error,
        outputs=outputs,
        log=report.log,
        jitter=random.random(),
    )
    return Happened(body, at)


def settle(
    task: Task,
    plan: Plan,
    running: Iterable[Attempt],
    reports: Mapping[Attempt, AttemptReport],
    *,
    same_boot: Callable[[Attempt], bool],
    directory: Callable[[Attempt], str],
    now: float,
) -> Settled:
    """Judges the attempts of a task that were asked for and have not ended, as far as there are reports of them."""
    settled = Settled()
    # One that nobody asked about was begun since: there will be word of it.
    for key in sorted(set(running) & reports.keys()):
        report = reports[key]
        about = {"task": task.id, "fence": task.fence, "step": key.step_id, "attempt": key.attempt}
        inline = steps.is_inline(plan.step(key.step_id).kind)
        match recovery.judge(report, same_boot=same_boot(key), inline=inline):
            case recovery.Adopt():
                logger.info("adopted: it runs on", extra=about)
            case recovery.Resume():
                logger.info("taken up again", extra=about)
                settled.resume.append(key)
            case recovery.Harvest():
                settled.happened.append(end_of(task, report, directory=directory(key), now=now))
            case recovery.Respawn():
                if task.state is TaskState.CANCELLING and not task.steps[key.step_id].final:
                    error = Error(Code.CANCELLED, "not started: the task was cancelled")
                    body = StepEnded(key.step_id, key.attempt, error=error, log=NO_LOG)
                    settled.happened.append(Happened(body, now))
                else:
                    settled.respawn.append(key)
            case recovery.Lost(reason):
                logger.warning("lost: %s", reason, extra=about)
                if report.phase is Phase.RUNNING:
                    settled.kill.append(key)
                settled.happened.append(Happened(StepLost(key.step_id, key.attempt, reason, report.log), now))
    return settled
