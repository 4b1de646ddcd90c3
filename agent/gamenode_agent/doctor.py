"""Looks for what could keep an agent from its work, and says what to do about it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography import x509

from gamenode_agent import host, renewal
from gamenode_agent.config import AgentSettings
from gamenode_agent.containers.assembly import open_engine
from gamenode_agent.engines.containers import EngineInfo
from gamenode_agent.identity import FILE_NAME, Identity, load_identity
from gamenode_agent.join import pinned_ca
from gamenode_agent.keys import public_key_hash
from gamenode_agent.leaving import unfinished_tasks
from gamenode_agent.status import read_status
from gamenode_agent.supervisor.client import Supervisor
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto import transport
from gamenode_proto.process.clock import wall_clock

_CONNECT_SECONDS = 5.0
#: Where no engine is to be seen, only its watch has to say so.
_LOOK_SECONDS = 0.5
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    mark: Literal["ok", "warn", "FAIL"]
    what: str


async def examine(settings: AgentSettings) -> list[Finding]:
    """Everything there is to look at; changes nothing."""
    transport.quiet_core()
    findings = [*_host(settings), *await _engine(settings)]
    try:
        identity = load_identity(settings.agent_dir)
    except GameNodeError as error:
        return [*findings, Finding("FAIL", error.message)]
    findings += _identity(settings.agent_dir, identity)
    findings += _agent(settings.agent_dir)
    for address in identity.addresses:
        findings.append(await asyncio.to_thread(_server, address, identity))
    findings.append(await _standing(identity))
    if read_status(settings.agent_dir) is not None:
        findings.append(await _supervisor(settings.root))
    return findings


def _host(settings: AgentSettings) -> Iterator[Finding]:
    data_dir = settings.root
    if sqlite3.sqlite_version_info < (3, 35):
        yield Finding("FAIL", f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    else:
        yield Finding("ok", f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    place = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    if not os.access(place, os.W_OK):
        yield Finding("FAIL", f"{place} cannot be written by this user (uid {os.geteuid()})")
    free, reserve = host.free_bytes(place), settings.disk_reserve
    mark: Literal["ok", "FAIL"] = "ok" if free >= reserve else "FAIL"
    yield Finding(mark, f"{free >> 20} MiB of disk are free under {place}; tasks need {reserve >> 20}")
    words = host.capabilities()
    if not any(word.startswith("cgroup") for word in words):
        yield Finding("warn", "no cgroups: limits are kept by looking at processes, which is less exact")
    if "bash" not in words:
        yield Finding("warn", "no bash: steps with `shell: bash` fail here")
    yield from _systemd()


async def _engine(settings: AgentSettings) -> list[Finding]:
    """The container engine the agent would find, or has found."""
    logging.getLogger("gamenode_agent.engines").setLevel(logging.ERROR)  # what is found is said here
    status = read_status(settings.agent_dir)
    address = status.engine_address if status is not None else ""
    engine = open_engine(replace(settings, docker_host=address or settings.docker_host))
    if engine is None:
        return [Finding("ok", "no containers: `docker-host` is `none`")]
    info, where = None, ""
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(engine.run())
            try:
                await engine.ready(_CONNECT_SECONDS if engine.address else _LOOK_SECONDS)
            finally:
                watch.cancel()
        info = engine.info
        where = engine.address
    except* GameNodeError:
        pass  # what ails it is asked below
    finally:
        await engine.close()
    if info is not None:
        return list(_engine_facts(info, where))
    # Whoever names an engine wants containers; without a word of it, a host without them is as good.
    mark: Literal["warn", "FAIL"] = "FAIL" if settings.docker_host or os.environ.get("DOCKER_HOST") else "warn"
    return [Finding(mark, f"container steps cannot run here: {engine.problem}")]


def _engine_facts(info: EngineInfo, address: str) -> Iterator[Finding]:
    about = f"storage {info.storage_driver}, cgroup v{info.cgroup_version}, data in {info.root_dir}"
    kind = " (rootless)" if info.rootless else ""
    yield Finding("ok", f"{info.name} {info.version}{kind} at {address}, API {info.api_version}; {about}")
    if info.missing_limits:
        yield Finding("warn", f"the engine cannot keep these limits: {', '.join(info.missing_limits)}")
    if info.storage_driver == "vfs":
        yield Finding("warn", "storage driver vfs copies whole images: slow, and large on disk; overlay2 is better")
    if not info.live_restore:
        yield Finding(
            "warn",
            "a restart of Docker stops every container: "
            'set "live-restore": true in /etc/docker/daemon.json, and containers run on',
        )


def _systemd() -> Iterator[Finding]:
    """A unit that kills its whole control group kills every step with the agent."""
    if not Path("/run/systemd/system").exists():
        return
    command = ["systemctl", "show", "-p", "LoadState", "-p", "KillMode", "gamenode-agent.service"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=_CONNECT_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    if "LoadState=loaded" in shown and "KillMode=process" not in shown:
        yield Finding("warn", "gamenode-agent.service: set KillMode=process, or a stop of the agent ends every step")


def _identity(agent_dir: Path, identity: Identity) -> Iterator[Finding]:
    mode = (agent_dir / FILE_NAME).stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("FAIL", f"{agent_dir / FILE_NAME} can be read by others (mode {mode:03o}): chmod 600 it")
    left = identity.lifetime[1] - wall_clock()
    if left > 0:
        yield Finding("ok", f"node {identity.name} ({identity.node_id}), certificate good for {left / _DAY:.1f} days")
    else:
        yield Finding("warn", f"the certificate ended {-left / _DAY:.1f} days ago; the agent gets a new one by its key")


def _agent(agent_dir: Path) -> Iterator[Finding]:
    status = read_status(agent_dir)
    if status is None:
        yield Finding("warn", "the agent does not run: `gamenode-agent run --detach` starts it")
    elif status.connected:
        yield Finding("ok", f"the agent runs (pid {status.pid}) and is connected to {status.server}")
    else:
        yield Finding("FAIL", f"the agent runs (pid {status.pid}) and is not connected: {status.problem}")
    try:
        tasks = unfinished_tasks(agent_dir)
    except GameNodeError as error:
        yield Finding("FAIL", error.message)
    else:
        yield Finding("ok", f"the journal can be read; {tasks} tasks have not ended")


def _server(address: str, identity: Identity) -> Finding:
    pins = [public_key_hash(ca) for ca in x509.load_pem_x509_certificates(identity.ca_pem.encode())]
    last = ""
    for pin in pins:
        try:
            pinned_ca(address, pin, _CONNECT_SECONDS)
        except (GameNodeError, socket.gaierror) as error:
            last = error.message if isinstance(error, GameNodeError) else str(error)
        else:
            return Finding("ok", f"{address} is a server of this cluster")
    return Finding("FAIL", f"server {address}: {last}")


async def _standing(identity: Identity) -> Finding:
    try:
        verdict = await renewal.why_refused(identity)
    except GameNodeError as error:
        return Finding("warn", f"the server cannot be asked how this node stands: {error.message}")
    if verdict.word == "accepted":
        return Finding("ok", "the server has nothing against this node")
    return Finding("FAIL", f"the server refuses this node: {verdict.message or verdict.word}")


async def _supervisor(data_dir: Path) -> Finding:
    supervisor = Supervisor(data_dir)
    try:
        await supervisor.connect()
        kept = (await supervisor.capabilities()).names()
        await supervisor.close()
    except GameNodeError as error:
        return Finding("FAIL", f"the supervisor: {error.message}")
    return Finding("ok", f"the supervisor runs (pid {supervisor.pid}); {', '.join(kept)}")
