"""The step kind `run`: a script or a command as a process of this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gamenode_agent.runner.environment import render, render_stop
from gamenode_agent.steps.context import OUTPUT_FILE, SCRIPT_FILE, StepContext
from gamenode_agent.supervisor.client import AttemptKey, SpawnRequest
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Script


def spawn_request(context: StepContext) -> SpawnRequest:
    """What to start for one attempt; writes its script.

    Raises GameNodeError for templates without a value or a shell nobody knows, OSError where the disk says no.
    """
    step = context.step
    rendered = render(context.task, context.plan, step, own=context.own_env())
    env = dict(rendered.env)
    argv = _argv(step.script or Script(), rendered.argv, context, env)
    stop_argv, stop_env = render_stop(context.task, context.plan, step)
    if rendered.user:
        _hand_output_over(f"{context.directory}/{OUTPUT_FILE}", rendered.user)
    return SpawnRequest(
        key=AttemptKey(*context.key),
        directory=Path(context.directory),
        argv=argv,
        env=env,
        # A relative one is inside of the workspace, an absolute one where it says.
        cwd=os.path.join(context.workspace, rendered.workdir),
        user=rendered.user,
        limits=step.limits,
        timeout=step.timeout,
        stop=step.stop,
        stop_argv=stop_argv,
        stop_env=stop_env,
    )


def _argv(script: Script, argv: Sequence[str], context: StepContext, env: dict[str, str]) -> tuple[str, ...]:
    match script.shell:
        case "none":
            if not argv:
                raise GameNodeError(Code.INVALID_ARGUMENT, f"step {context.step.id!r} has no command")
            return tuple(argv)
        case "sh":
            return ("/bin/sh", "-e", _write_script(context, script.text))
        case "bash":
            return ("bash", "-eo", "pipefail", _write_script(context, script.text))
        case "python":
            # What it prints shall be seen when it is printed.
            env.setdefault("PYTHONUNBUFFERED", "1")
            return (sys.executable, _write_script(context, script.text))
        case other:
            raise GameNodeError(
                Code.INVALID_ARGUMENT,
                f"this agent does not know the shell {other!r} (step {context.step.id!r}):"
                " it knows sh, bash, python and none",
            )


def _write_script(context: StepContext, text: str) -> str:
    """Every user of the host may read it, and nobody but us may change it.

    It is there whole or not at all: a shell that reads an empty script succeeds.
    """
    path = f"{context.directory}/{SCRIPT_FILE}"
    unfinished = f"{path}.new"
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    os.rename(unfinished, path)
    return path


def _hand_output_over(path: str, user: str) -> None:
    """Makes the output file for a step that runs as another user, who cannot make it in our folder."""
    from gamenode_agent.supervisor.starting import CannotStart, account

    try:
        who = account(user)
    except CannotStart as error:
        raise GameNodeError(Code(str(error.error["code"])), str(error.error["message"])) from None
    if who is None:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchown(fd, who.uid, who.gid)
    finally:
        os.close(fd)
