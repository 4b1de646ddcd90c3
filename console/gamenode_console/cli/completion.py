"""`gamenode completion`, and completing names by asking the server. A completion never says that something is wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click import shell_completion

from gamenode_console.cli.client import Client
from gamenode_console.cli.frame import COMPLETE, Command
from gamenode_pipelines.errors import GameNodeError

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

_DEADLINE = 1.0
#: Options that say which server is asked.
_WHERE = ("data_dir", "context", "connect", "credentials", "config")
SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples=[
        'eval "$(gamenode completion bash)"                      # in ~/.bashrc',
        'eval "$(gamenode completion zsh)"                       # in ~/.zshrc',
        "gamenode completion fish > ~/.config/fish/completions/gamenode.fish",
    ],
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that teaches SHELL to complete commands, options and names."""
    made = shell_completion.get_completion_class(shell)
    assert made is not None  # click ships these three
    click.echo(made(context.find_root().command, {}, "gamenode", COMPLETE).source())


#: Asks for names that may begin like the word so far.
Ask = Callable[["Gateway", str], Awaitable[list[tuple[str, str]]]]


def _completer(ask: Ask) -> Callable[[click.Context, click.Parameter, str], list[shell_completion.CompletionItem]]:
    """A `shell_complete` that offers names (with a line on each) of what the server has; nothing when it is away."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[shell_completion.CompletionItem]:
        client = Client()
        here: click.Context | None = context
        while here is not None:
            client.add_flags({**here.params, **client.flags} if here.parent else here.params)
            here = here.parent
        client.flags = {name: client.flags[name] for name in _WHERE if name in client.flags}

        async def work(gateway: Gateway) -> list[tuple[str, str]]:
            async with asyncio.timeout(_DEADLINE):
                return await ask(gateway, incomplete)

        try:
            found = client.run(work)
        except (GameNodeError, OSError, TimeoutError):
            return []
        return [shell_completion.CompletionItem(name, help=line) for name, line in found if name.startswith(incomplete)]

    return complete


async def _nodes(gateway: Gateway, incomplete: str) -> list[tuple[str, str]]:
    from gamenode_console import words

    return [(node.name, words.node_state(node.state)) for node in await gateway.state.list_nodes()]


async def _pipelines(gateway: Gateway, incomplete: str) -> list[tuple[str, str]]:
    return [(item.pipeline.name, item.pipeline.description) for item in await gateway.pipelines.list()]


async def _runs(gateway: Gateway, incomplete: str) -> list[tuple[str, str]]:
    from gamenode_console import words

    answer = await gateway.pipelines.list_runs(limit=50)
    return [(run.id, f"{run.pipeline} {words.run_state(run.state)}") for run in answer.runs]


async def _containers(gateway: Gateway, incomplete: str, *, own: bool = False) -> list[tuple[str, str]]:
    """Names where they say enough, `NODE/NAME` where they do not, or where that is what is being written."""
    found = [one for one in await gateway.containers.list(all=True) if one.container.own or not own]
    named = Counter(one.container.name for one in found)
    return [
        (name if named[name] == 1 and "/" not in incomplete else f"{one.node}/{name}", one.container.state)
        for one in found
        for name in [one.container.name]
    ]


async def _artifacts(gateway: Gateway, incomplete: str) -> list[tuple[str, str]]:
    return [(each.name, each.node or "server") for each in await gateway.artifacts.list_artifacts()]


complete_artifact: Any = _completer(_artifacts)
complete_container: Any = _completer(_containers)
complete_own_container: Any = _completer(partial(_containers, own=True))
complete_node: Any = _completer(_nodes)
complete_pipeline: Any = _completer(_pipelines)
complete_run: Any = _completer(_runs)
