"""`gamenode up` and `down`: a server and an agent for this machine, on one data dir. Both can be asked for again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from gamenode_console import discovery, machine
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import SystemClock
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: Seconds that a server may take to answer.
_SERVER_DEADLINE = 30.0
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

    def say(text: str, done: bool) -> None:
        client.say(text, colour="green" if done else "")

    config = machine.config_words(client.flags, client.env)
    client.run(
        lambda gateway: machine.start_agent(gateway, place.data_dir, name=name, labels=labels, config=config, say=say)
    )
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
        code, out, err = machine.command(module, "stop", "--data-dir", str(data_dir))
        if code == 0 and "stopped" in out + err:
            inside = ", with the console that it ran in" if ", with the console" in out + err else ""
            client.say(f"{what}: stopped{inside}")
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
    config = machine.config_words(client.flags, client.env)
    words = ["--data-dir", str(place.data_dir), "--detach", *config]
    for flag, given, port in (("listen", listen, _PORTS[0]), ("join-listen", join_listen, _PORTS[1])):
        told = "GAMENODE_" + flag.upper().replace("-", "_") in client.env or config
        if given or not told:
            words += [f"--{flag}", given or machine.free_address(port)]
    client.say(f"server: starting on {place.data_dir}")
    code, out, err = machine.command("gamenode_server", *words)
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
