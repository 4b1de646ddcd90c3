"""What a command that starts a run does then: says which it is, or stays with it to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gamenode_console import outcomes
from gamenode_console.cli import following
from gamenode_console.cli.client import Client
from gamenode_console.cli.parsing import DURATION
from gamenode_console.documents import runs
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.pipeline_management_pb2 import RunDocument

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Stay:
    """Whether to stay with a run that was started, and for how many seconds at most."""

    wait: bool
    follow: bool
    timeout: float | None


def stay_options(command: F) -> F:
    """`--wait`, `--follow` and `--timeout`; the command gets them as `stay`."""

    @wraps(command)
    def collected(*args: Any, wait: bool, follow: bool, timeout: float | None, **more: Any) -> Any:
        if timeout is not None and not (wait or follow):
            raise click.UsageError("--timeout limits waiting: give --wait or --follow too")
        return command(*args, stay=Stay(wait, follow, timeout), **more)

    for decorate in (
        click.option(
            "--timeout", type=DURATION, help="With --wait or --follow: how long; the run goes on. Exit code 7."
        ),
        click.option("--follow", is_flag=True, help="Wait, and print what its steps say."),
        click.option("--wait", is_flag=True, help="Wait for its end; the exit code says how it ended."),
    ):
        collected = decorate(collected)
    return collected  # type: ignore[return-value]  # it takes `stay` apart


def start(client: Client, ask: Callable[[Gateway], Awaitable[RunDocument]], stay: Stay) -> int:
    """Starts a run by `ask` and stays with it as `stay` says; the exit code."""

    async def work(gateway: Gateway) -> int:
        started = await ask(gateway)
        run_id = started.run.id
        client.on_interrupt = outcomes.goes_on(run_id)
        if not (stay.wait or stay.follow):
            document = runs.run_document(started)
            client.output.one(document, lambda: [f"run {run_id} started on {len(started.tasks)} nodes"], name=run_id)
            return ExitCode.OK
        client.say(f"run {run_id}")
        async with following.deadline(stay.timeout, run_id):
            if stay.follow:
                outcome = await following.follow(client, gateway, run_id, logs_to_stderr=client.output.machine)
            else:
                outcome = await following.wait(gateway, run_id, logs_too=client.output.machine)
        if client.output.machine:
            client.output.json(runs.run_document(await gateway.pipelines.get_run(run_id)))
        else:
            for line in following.ended_lines(outcome):
                client.say(line)
            if client.output.format == "name":
                client.output.line(run_id)
        return outcome.code

    return client.run(work)
