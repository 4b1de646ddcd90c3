"""The root of the command tree: names, where they live, and a line on each. Imports none of them."""

from __future__ import annotations

import click

from gamenode_console.cli.frame import RootGroup, common_options

_CLI = "gamenode_console.cli"


class GameNode(RootGroup):
    """`gamenode`."""

    lazy = {  # noqa: RUF012 - a constant of the class
        "artifact": (f"{_CLI}.artifact", "artifact", "Files that runs make and need."),
        "audit": (f"{_CLI}.audit", "audit", "Who did what, and whether the log of it is intact."),
        "completion": (f"{_CLI}.completion", "completion", "Print shell completion for bash, zsh or fish."),
        "container": (f"{_CLI}.container", "container", "Every container of the fleet."),
        "context": (f"{_CLI}.context", "context", "Names for the servers you talk to."),
        "doctor": (f"{_CLI}.doctor", "doctor", "Check this machine and the server."),
        "down": (f"{_CLI}.machine", "down", "Stop the server and the agent of this machine."),
        "events": (f"{_CLI}.events", "events", "What happened, and what happens."),
        "explain": (f"{_CLI}.explain", "explain", "What a key of pipeline files is for."),
        "node": (f"{_CLI}.node", "node", "The hosts that run an agent."),
        "notifier": (f"{_CLI}.notifier", "notifier", "Who is told of events, and how that goes."),
        "pipeline": (f"{_CLI}.pipeline", "pipeline", "Templates: store, check, show and run them."),
        "run": (f"{_CLI}.run", "run", "Runs of pipelines: watch, wait, cancel, logs."),
        "status": (f"{_CLI}.status", "status", "What needs attention, oldest first."),
        "up": (f"{_CLI}.machine", "up", "Start a server and an agent on this machine."),
        "schedule": (f"{_CLI}.schedule", "schedule", "Pipelines that start by themselves."),
        "user": (f"{_CLI}.user", "user", "Who may operate, beside those whom the settings name."),
        "version": (f"{_CLI}.status", "version", "Versions of this client and of the server."),
        "whoami": (f"{_CLI}.status", "whoami", "Who the server takes you for."),
    }


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"gamenode {version('gamenode')}")
        context.exit()


root = GameNode(
    "gamenode",
    help="Manage the hosts that game servers run on.",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print it."
        ),
    ],
)
# Shown here, taken everywhere.
root.params = [root.params[0], *common_options(hidden=False)]
