"""The commands of `gamenode-agent`. Each imports what it needs when it runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from gamenode_agent.config import AgentSettings, CommonSettings
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import logs, parsers
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.process.settings import load, options, settings_of

logger = logging.getLogger(__name__)

#: How long a detached agent may take to start, and a running one to stop.
START_SECONDS = 20.0
STOP_SECONDS = 15.0
_POLL = 0.05


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="gamenode", prog_name="gamenode-agent", message="%(prog)s %(version)s")
@options(CommonSettings)
@click.pass_context
def root(context: click.Context, flags: dict[str, Any]) -> None:
    """Runs tasks on this host and reports what happens to them."""
    context.obj = flags


def _settings(flags: Mapping[str, Any]) -> AgentSettings:
    """The agent's settings, whatever the command needs of them: they share one file and one environment.

    Flags before the command's name count, those behind it count more.
    """
    context = click.get_current_context()
    given = {**(context.obj or {}), **{name: value for name, value in flags.items() if value is not None}}
    settings = load(AgentSettings, flags=given, env=os.environ)
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _note(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _make_agent_dir(settings: CommonSettings) -> Path:
    agent_dir = settings.agent_dir
    try:
        # Steps that run as another user pass through; they cannot list.
        agent_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise GameNodeError(
            Code.PERMISSION_DENIED, f"{agent_dir} cannot be made: {error.strerror}; use --data-dir or become root"
        ) from error
    return agent_dir


# -- joining and leaving -----------------------------------------------------------------------------------------------


@root.command()
@click.argument("token", required=False, metavar="TOKEN|-")
@click.option("--token-file", metavar="FILE", help="A file that holds the token, so that it is in no process list.")
@click.option("--name", default="", metavar="NAME", help="The node's name.  [default: the host's name]")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the node; may be given again.")
@options(CommonSettings)
def join(flags: dict[str, Any], token: str | None, token_file: str | None, name: str, labels: Sequence[str]) -> None:
    """Makes this host a node of the cluster that the token is from."""
    settings = _settings(flags)
    text = _token_text(token, token_file)
    parsed = dict(map(_label, labels))

    from gamenode_agent import host
    from gamenode_agent.app import agent_version
    from gamenode_agent.join import join as join_cluster
    from gamenode_agent.status import take_lock
    from gamenode_proto.tokens import JoinToken
    from gamenode_proto.transport import quiet_core

    quiet_core()
    decoded = JoinToken.decode(text)
    agent_dir = _make_agent_dir(settings)
    with take_lock(agent_dir):
        about = host.facts(data_dir=settings.root, version=agent_version(), slots=AgentSettings().slots)
        identity = asyncio.run(join_cluster(decoded, agent_dir, name=name, labels=parsed, facts=about))
    _say(f"joined as node={identity.name} id={identity.node_id} server={','.join(identity.addresses)}")


def _token_text(token: str | None, token_file: str | None) -> str:
    if (token is None) == (token_file is None):
        raise click.UsageError("give the token, or - to read it from standard input, or --token-file FILE")
    if token_file is not None:
        try:
            return Path(token_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise click.UsageError(f"the token file {token_file} cannot be read: {why}") from error
    assert token is not None
    return sys.stdin.read() if token == "-" else token


def _label(text: str) -> tuple[str, str]:
    from gamenode_pipelines.selectors import validate_label

    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--label {text!r} is not KEY=VALUE")
    validate_label(key, value)
    return key, value


@root.command("set-server")
@click.argument("addresses", metavar="HOST:PORT,…")
@options(CommonSettings)
def set_server(flags: dict[str, Any], addresses: str) -> None:
    """Tells this node where its server is now. Trust comes from the cluster's CA, never from an address."""
    from gamenode_agent.identity import load_identity, save_identity
    from gamenode_agent.status import running_pid

    settings = _settings(flags)
    try:
        parsed = parsers.addresses(addresses)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not parsed:
        raise click.UsageError("give at least one HOST:PORT")
    identity = load_identity(settings.agent_dir)
    save_identity(settings.agent_dir, replace(identity, addresses=parsed))
    pid = running_pid(settings.agent_dir)
    if pid:
        os.kill(pid, signal.SIGUSR1)
    _say(f"server={','.join(parsed)}" + (f"; told the running agent (pid {pid})" if pid else ""))


@root.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also with tasks that have not ended; what they run is stopped.")
@options(CommonSettings)
def leave(flags: dict[str, Any], yes: bool, force: bool) -> None:
    """Makes this host forget its cluster: its key, its journal, and everything else of the agent."""
    from gamenode_agent.identity import load_identity
    from gamenode_agent.leaving import forget_everything, unfinished_tasks
    from gamenode_agent.status import take_lock

    settings = _settings(flags)
    identity = load_identity(settings.agent_dir)
    with take_lock(settings.agent_dir):
        tasks = unfinished_tasks(settings.agent_dir)
        if tasks and not force:
            raise GameNodeError(
                Code.STATE_CONFLICT,
                f"{tasks} tasks of this node have not ended: cancel them, or use --force, which stops what they run",
            )
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"leaving cannot be undone: repeat with --yes to make {identity.name} leave")
            click.confirm(f"Forget node {identity.name} ({identity.node_id}) on this host?", abort=True, err=True)
        asyncio.run(forget_everything(settings.root))
    _say(f"left node={identity.name} id={identity.node_id}")
    _note(f"the server still lists it: `gamenode node rm {identity.name}` forgets it there")


# -- running -----------------------------------------------------------------------------------------------------------


@root.command()
@click.option("--detach", is_flag=True, help="Run in the background, without a terminal.")
@options(AgentSettings)
def run(flags: dict[str, Any], detach: bool) -> int:
    """Runs the agent; prints `connected …` when its first session is open. Steps outlive it."""
    settings = _settings(flags)
    from gamenode_agent.identity import load_identity

    load_identity(settings.agent_dir)
    if detach:
        return _detach(settings, _given({**(click.get_current_context().obj or {}), **_given(flags)}))
    from gamenode_agent import app

    try:
        ending = asyncio.run(app.run(settings, announce=_say))
    except BaseExceptionGroup:
        logger.critical("the agent has failed", exc_info=True)
        return ExitCode.FAILED
    if ending is app.Ending.RESTART:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return ExitCode.OK


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _detach(settings: AgentSettings, given: Mapping[str, Any]) -> int:
    from gamenode_agent.status import read_status, running_pid
    from gamenode_proto.process.detach import python_module, spawn_detached

    pid = running_pid(settings.agent_dir)
    if pid is not None:
        raise GameNodeError(Code.STATE_CONFLICT, f"the agent of {settings.root} runs already (pid {pid})")
    words = ["run", "--data-dir", str(settings.root)]
    if given.get("config"):
        words += ["--config", os.path.abspath(given["config"])]
    for item in settings_of(AgentSettings):
        if item.name != "data_dir" and item.name in given:
            words += [f"--{item.flag}", str(given[item.name])]
    log = settings.agent_dir / "agent.log"
    before = log.stat().st_size if log.exists() else 0
    child = spawn_detached(python_module("gamenode_agent", *words), log_path=log)

    def up() -> bool:
        status = read_status(settings.agent_dir)
        return status is not None and status.pid == child and status.problem != "starting"

    if not _until(lambda: up() or not _alive(child), START_SECONDS) or not _alive(child):
        with log.open("rb") as file:
            file.seek(before)
            said = file.read().decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"it said nothing within {START_SECONDS:g} s"
        raise GameNodeError(Code.INTERNAL, f"the agent did not start: {why} (see {log})")
    _say(f"started pid={child} log={log}")
    return ExitCode.OK


@root.command()
@options(CommonSettings)
def stop(flags: dict[str, Any]) -> int:
    """Stops the running agent. What its steps run goes on, and is found again at the next start."""
    from gamenode_agent.status import running_pid

    settings = _settings(flags)
    pid = running_pid(settings.agent_dir)
    if pid is None:
        _note("no agent runs")
        return ExitCode.OK
    if not pid:
        raise GameNodeError(Code.STATE_CONFLICT, "an agent is just starting: try again in a moment")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise GameNodeError(
            Code.PERMISSION_DENIED, f"the agent (pid {pid}) is another user's: stop it as that user"
        ) from None
    if not _until(lambda: running_pid(settings.agent_dir) != pid, STOP_SECONDS):
        raise GameNodeError(Code.TIMEOUT, f"the agent (pid {pid}) has not ended within {STOP_SECONDS:g} s")
    _say(f"stopped pid={pid}")
    return ExitCode.OK


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- looking -----------------------------------------------------------------------------------------------------------


@root.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@options(CommonSettings)
def status(flags: dict[str, Any], output: str) -> int:
    """Says whether the agent runs and is connected. Exits with 1 where it does not run."""
    from gamenode_agent.identity import load_identity
    from gamenode_agent.leaving import unfinished_tasks
    from gamenode_agent.status import read_status

    settings = _settings(flags)
    identity = load_identity(settings.agent_dir)
    found = read_status(settings.agent_dir)
    tasks = unfinished_tasks(settings.agent_dir)
    if output == "json":
        body: dict[str, Any] = {
            "node_id": identity.node_id,
            "name": identity.name,
            "servers": list(identity.addresses),
            "certificate_not_after": identity.lifetime[1],
            "running": found is not None,
            "tasks": tasks,
        }
        if found is not None:
            about = asdict(found)
            body |= {key: about[key] for key in ("pid", "version", "started_at", "slots", "connected", "server")}
            body |= {key: about[key] for key in ("since", "problem", "engine", "engine_address", "engine_problem")}
        _say(json.dumps(body))
    else:
        _say(f"node    {identity.name} ({identity.node_id})")
        if found is None:
            _say("agent   does not run; `gamenode-agent run` starts it")
        else:
            _say(f"agent   runs, pid {found.pid}, version {found.version or '?'}, {found.slots} slots")
            link = f"connected to {found.server}" if found.connected else f"not connected: {found.problem}"
            _say(f"server  {link}")
            engine = f"{found.engine} at {found.engine_address}" if found.engine else f"none: {found.engine_problem}"
            _say(f"engine  {engine}")
        _say(f"tasks   {tasks} not ended")
    return ExitCode.OK if found is not None else ExitCode.FAILED


@root.command()
@options(CommonSettings)
def doctor(flags: dict[str, Any]) -> int:
    """Looks for what could keep the agent from its work. Exits with 1 where it finds something."""
    from gamenode_agent.doctor import examine

    settings = _settings(flags)
    findings = asyncio.run(examine(settings))
    for finding in findings:
        _say(f"{finding.mark:<5} {finding.what}")
    return ExitCode.OK if all(finding.mark != "FAIL" for finding in findings) else ExitCode.FAILED
