"""This machine's own server and agent, from the outside: starts and asks the other programs, and reads what they left.

Knows no command line: who wants to hear of it says how (`Say`).
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamenode_console import discovery, words
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.detach import python_module
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: Seconds that a node may take to come online, and a command to end.
NODE_DEADLINE = 30.0
COMMAND_DEADLINE = 60.0

#: Hears of each step, and whether it is one that was waited for.
Say = Callable[[str, bool], None]


def command(module: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Runs one of our programs to its end; (exit code, stdout, stderr)."""
    # Settings of this client that the other programs must not take for theirs.
    env = {key: value for key, value in os.environ.items() if key not in ("GAMENODE_OUTPUT", "GAMENODE_CONTEXT")}
    try:
        done = subprocess.run(
            python_module(module, *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            env=env,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"`{module} {arguments[0]}` did not end within {COMMAND_DEADLINE:g} s"
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def config_words(flags: Mapping[str, Any], env: Mapping[str, str]) -> tuple[str, ...]:
    """The config file for the other programs, where one was given: it has sections for them too."""
    file = flags.get("config") or env.get("GAMENODE_CONFIG")
    return ("--config", str(Path(file).absolute())) if file else ()


def free_address(port: int) -> str:
    """This port on loopback where nobody has it, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"


# --- the agent -------------------------------------------------------------------------------------------------------


async def start_agent(
    gateway: Gateway,
    data_dir: Path,
    *,
    name: str = "",
    labels: Sequence[str] = (),
    config: Sequence[str] = (),
    say: Say,
) -> None:
    """Makes sure that this machine has joined and its agent is connected."""
    server = discovery.server_file(data_dir) or {}
    options = ("--data-dir", str(data_dir))
    identity = _identity(data_dir)
    if identity is None:
        name = name or default_name(platform.node())
        say(f"agent: joining as {name}", False)
        token = await gateway.administration.create_join_token(ttl=600.0, uses=1)
        flags = [word for label in labels for word in ("--label", label)]
        await _checked("join the cluster", "join", "-", *options, "--name", name, *flags, stdin=token.token)
        identity = _identity(data_dir)
        if identity is None:
            raise GameNodeError(Code.INTERNAL, f"the agent joined, but left no identity in {data_dir / 'agent'}")
    else:
        who = await gateway.administration.who_am_i()
        if identity.get("cluster_id") != who.cluster_id:
            raise GameNodeError(
                Code.STATE_CONFLICT,
                f"this machine's agent belongs to another cluster ({identity.get('cluster_id')}); "
                f"`gamenode-agent leave --data-dir {data_dir}` first",
            )
        if server.get("listen") and server["listen"] not in identity.get("addresses", ()):
            await _checked("hear of the server's address", "set-server", str(server["listen"]), *options)
    node_id = str(identity["node_id"])
    if await _is_online(gateway, node_id):
        say(f"agent: runs already, node {identity['name']} is online", False)
        return
    say("agent: starting", False)
    code, out, err = await asyncio.to_thread(command, "gamenode_agent", "run", "--detach", *options, *config)
    if code not in (0, ExitCode.CONFLICT):  # a conflict: it runs, and is about to connect
        raise GameNodeError(Code.INTERNAL, f"the agent did not start: {err or out or f'exit {code}'}")
    try:
        async with asyncio.timeout(NODE_DEADLINE):
            await _until_online(gateway, node_id)
    except TimeoutError:
        raise GameNodeError(
            Code.TIMEOUT,
            f"node {identity['name']} is not online after {NODE_DEADLINE:g} s; "
            f"`gamenode-agent status --data-dir {data_dir}` says what its agent does",
        ) from None
    say(f"agent: ready, node {identity['name']} is online", True)


def _identity(data_dir: Path) -> dict[str, Any] | None:
    """The facts of the agent's identity: the first line of its file; None where this machine has not joined."""
    file = data_dir / "agent" / "identity.pem"
    try:
        with file.open(encoding="utf-8") as lines:
            facts = json.loads(lines.readline())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GameNodeError(Code.INTEGRITY_FAILED, f"cannot read {file}: {error}") from error
    if not isinstance(facts, dict) or "node_id" not in facts:
        raise GameNodeError(Code.INTEGRITY_FAILED, f"{file} is damaged")
    return facts


def default_name(host: str) -> str:
    """A node name from a host name: its first label, less what names may not have."""
    short = re.sub(r"[^a-z0-9-]+", "-", host.split(".")[0].lower()).strip("-")
    return short[:63] or "this-machine"


async def _is_online(gateway: Gateway, node_id: str) -> bool:
    return any(
        node.id == node_id and words.node_state(node.state) == "online" for node in await gateway.state.list_nodes()
    )


async def _until_online(gateway: Gateway, node_id: str) -> None:
    async for update in gateway.state.watch_nodes():
        for node in update.nodes:
            if node.id == node_id and words.node_state(node.state) == "online":
                return


async def _checked(what: str, *arguments: str, stdin: str = "") -> None:
    """Runs a command of the agent's program; GameNodeError where it fails."""
    code, out, err = await asyncio.to_thread(command, "gamenode_agent", *arguments, stdin=stdin)
    if code != 0:
        raise GameNodeError(Code.INTERNAL, f"the agent could not {what}: {err or out or f'exit {code}'}")
