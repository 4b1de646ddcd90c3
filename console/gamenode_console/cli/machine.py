"""`gamenode up` and `down`: a server and an agent for this machine, on one data dir. Both can be asked for again."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamenode_console import discovery, words
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import SystemClock
from gamenode_proto.process.detach import python_module
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: Seconds that a server may take to answer, and a node to come online.
_SERVER_DEADLINE = 30.0
_NODE_DEADLINE = 30.0
_COMMAND_DEADLINE = 60.0
#: Ports of a server that is not told others, see the contract.
_PORTS = (7443, 7444)


@click.command(
    "up",
    cls=Command,
    examples=["gamenode up", "gamenode up --name build-1 --label role=game", "gamenode --data-dir ~/lab up"],
)
@click.option("--name", default="", help="This machine's node name. Default: its host name.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of this node when it joins.")
@click.option("--listen", default="", metavar="HOST:PORT", help="Where agents connect. Default: loopback.")
@click.option("--join-listen", default="", metavar="HOST:PORT", help="Where agents join. Default: loopback.")
@pass_client
def up(client: Client, name: str, labels: tuple[str, ...], listen: str, join_listen: str) -> int:
    """Start a server and an agent for this machine in the background, and wait until both work.

    What runs already is left alone. `gamenode down` stops them.
    """
    place = client.place
    try:
        place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GameNodeError(Code.PERMISSION_DENIED, f"cannot make {place.data_dir}: {error.strerror}") from error
    _start_server(client, place, listen, join_listen)
    client.run(lambda gateway: _start_agent(client, gateway, place.data_dir, name, labels))
    return ExitCode.OK


@click.command("down", cls=Command, examples=["gamenode down", "gamenode --data-dir ~/lab down"])
@pass_client
def down(client: Client) -> int:
    """Stop the agent and the server of this machine. Steps that run go on, and are found again by the next `up`."""
    data_dir = client.place.data_dir
    if not data_dir.exists():
        client.say(f"nothing runs on {data_dir}")
        return ExitCode.OK
    for what, module in (("agent", "gamenode_agent"), ("server", "gamenode_server")):
        code, out, err = _command(module, "stop", "--data-dir", str(data_dir))
        if code == 0 and "stopped" in out + err:
            client.say(f"{what}: stopped")
        elif code in (ExitCode.OK, ExitCode.UNREACHABLE, ExitCode.NOT_FOUND):
            client.say(f"{what}: was not running")
        else:
            raise GameNodeError(Code.INTERNAL, f"the {what} could not be stopped: {err}")
    return ExitCode.OK


# --- the server ------------------------------------------------------------------------------------------------------


def _start_server(client: Client, place: discovery.Place, listen: str, join_listen: str) -> None:
    """Makes sure that a server answers on the data dir."""
    version = _answers(client)
    if version is not None:
        target = discovery.find_target(place)
        client.say(f"server: runs already (pid {target.pid}, {version})")
        return
    words = ["--data-dir", str(place.data_dir), "--detach", *_config(client)]
    for flag, given, port in (("listen", listen, _PORTS[0]), ("join-listen", join_listen, _PORTS[1])):
        told = "GAMENODE_" + flag.upper().replace("-", "_") in client.env or _config(client)
        if given or not told:
            words += [f"--{flag}", given or _free_address(port)]
    client.say(f"server: starting on {place.data_dir}")
    code, out, err = _command("gamenode_server", *words)
    if code != 0:
        raise GameNodeError(Code.INTERNAL, f"the server did not start: {err or out or f'exit {code}'}")
    clock = SystemClock()
    give_up = clock.now() + _SERVER_DEADLINE
    while (version := _answers(client)) is None:
        if clock.now() >= give_up:
            raise GameNodeError(
                Code.TIMEOUT,
                f"the server did not answer within {_SERVER_DEADLINE:g} s; see the logs in {place.data_dir}",
            )
        asyncio.run(asyncio.sleep(0.05))
    found = discovery.server_file(place.data_dir) or {}
    client.say(f"server: ready (pid {found.get('pid')}, agents connect to {found.get('listen')})", colour="green")


def _answers(client: Client) -> str | None:
    """The version of the server on the data dir; None where none answers."""

    async def work(gateway: Gateway) -> str:
        return (await gateway.administration.who_am_i()).server_version

    try:
        return client.run(work)
    except GameNodeError as error:
        if error.code is not Code.DISCONNECTED:
            raise
        return None


def _config(client: Client) -> tuple[str, ...]:
    """The config file for the other programs, where one was given: it has sections for them too."""
    file = client.flags.get("config") or client.env.get("GAMENODE_CONFIG")
    return ("--config", str(Path(file).absolute())) if file else ()


def _free_address(port: int) -> str:
    """The usual port on loopback where nobody has it, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"


# --- the agent -------------------------------------------------------------------------------------------------------


async def _start_agent(client: Client, gateway: Gateway, data_dir: Path, name: str, labels: tuple[str, ...]) -> None:
    """Makes sure that this machine has joined and its agent is connected."""
    server = discovery.server_file(data_dir) or {}
    options = ("--data-dir", str(data_dir))
    identity = _identity(data_dir)
    if identity is None:
        name = name or default_name(platform.node())
        client.say(f"agent: joining as {name}")
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
        client.say(f"agent: runs already, node {identity['name']} is online")
        return
    client.say("agent: starting")
    code, out, err = await asyncio.to_thread(_command, "gamenode_agent", "run", "--detach", *options, *_config(client))
    if code not in (0, ExitCode.CONFLICT):  # a conflict: it runs, and is about to connect
        raise GameNodeError(Code.INTERNAL, f"the agent did not start: {err or out or f'exit {code}'}")
    try:
        async with asyncio.timeout(_NODE_DEADLINE):
            await _until_online(gateway, node_id)
    except TimeoutError:
        raise GameNodeError(
            Code.TIMEOUT,
            f"node {identity['name']} is not online after {_NODE_DEADLINE:g} s; "
            f"`gamenode-agent status --data-dir {data_dir}` says what its agent does",
        ) from None
    client.say(f"agent: ready, node {identity['name']} is online", colour="green")


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


async def _checked(what: str, *words: str, stdin: str = "") -> None:
    """Runs a command of the agent's program; GameNodeError where it fails."""
    code, out, err = await asyncio.to_thread(_command, "gamenode_agent", *words, stdin=stdin)
    if code != 0:
        raise GameNodeError(Code.INTERNAL, f"the agent could not {what}: {err or out or f'exit {code}'}")


def _command(module: str, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Runs one of our programs to its end; (exit code, stdout, stderr)."""
    # Settings of this client that the other programs must not take for theirs.
    env = {key: value for key, value in os.environ.items() if key not in ("GAMENODE_OUTPUT", "GAMENODE_CONTEXT")}
    try:
        done = subprocess.run(
            python_module(module, *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_COMMAND_DEADLINE,
            env=env,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"`{module} {words[0]}` did not end within {_COMMAND_DEADLINE:g} s"
    return done.returncode, done.stdout.strip(), done.stderr.strip()
