"""From a step that is to start to what starts it, and from what went wrong at that to the step's error."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Sequence

from gamenode_agent import steps
from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.journal import Attempt
from gamenode_agent.runner.shell import Shell
from gamenode_agent.supervisor.client import SpawnRequest
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import LogSummary
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.tasks import Task
from gamenode_proto.codec.plan import BundleFile

logger = logging.getLogger(__name__)

#: The log of an attempt that was never started: it is whole, and there is nothing in it.
NO_LOG = LogSummary(0, 0, hashlib.sha256().hexdigest())


def request_of(
    shell: Shell, task: Task, plan: Plan, key: Attempt, files: Sequence[BundleFile]
) -> SpawnRequest | InlineRequest:
    """Has the step's kind prepare an attempt; its folder and its task's are made. Raises GameNodeError, OSError."""
    step = plan.step(key.step_id)
    shared = bool(step.user) or any(each.user for each in (*plan.steps, *plan.finally_))
    workspace = shell.workspaces.prepare(task.id, task.fence, files, shared=shared)
    directory = shell.attempts.prepare(key)
    context = steps.StepContext(
        key=key,
        task=task,
        plan=plan,
        step=step,
        workspace=workspace,
        directory=directory,
        tools=shell.tools,
        files=files,
    )
    return steps.KINDS[step.kind](context)


def failure_of(key: Attempt, error: Exception) -> Error:
    """Why an attempt could not be started. A fault of ours is its end and not the agent's."""
    if isinstance(error, GameNodeError):
        return error.error
    if isinstance(error, OSError):
        code = Code.STORAGE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Code.STEP_FAILED
        return Error(code, f"the step could not be prepared: {error}")
    logger.error("a step could not be started", exc_info=error, extra={"task": key.task_id, "step": key.step_id})
    return Error(Code.INTERNAL, f"the agent failed to start the step: {error}")
