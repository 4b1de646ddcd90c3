"""Waiting for a run and following it: what ends the wait, what is printed meanwhile, and which exit code that gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gamenode_console import live, outcomes, words
from gamenode_console.cli.client import Client
from gamenode_console.cli.logprint import LogPrinter
from gamenode_console.documents import Document, runs
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.pipeline_management_pb2 import RunUpdate


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait ended: the run without its tasks, and the exit code."""

    run: Document
    code: ExitCode


@asynccontextmanager
async def one_error() -> AsyncIterator[None]:
    """Around a TaskGroup: raises the first error of its tasks by itself."""
    try:
        yield
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


@asynccontextmanager
async def deadline(seconds: float | None, run_id: str) -> AsyncIterator[None]:
    """Raises GameNodeError(TIMEOUT) when waiting takes longer; the run goes on."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise GameNodeError(
            Code.TIMEOUT, f"timed out after {seconds:g} s of waiting; {outcomes.goes_on(run_id)}"
        ) from None


async def wait(
    gateway: Gateway, run_id: str, *, logs_too: bool, watch: Callable[[RunUpdate], None] | None = None
) -> Outcome:
    """Waits until a run has ended (with `logs_too`: its logs have settled too), or only a person can move it."""
    outcome: Outcome | None = None
    async for update in gateway.pipelines.watch_run(run_id):
        if watch is not None:
            watch(update)
        state = words.run_state(update.run.state)
        code = outcomes.exit_of(state)
        if code is not None:
            outcome = Outcome(runs.run(update.run), code)
            if not logs_too or state not in outcomes.ENDED:
                break
    if outcome is None:
        raise GameNodeError(Code.DISCONNECTED, f"the server ended the watch of run {run_id} before the run ended")
    return outcome


async def follow(client: Client, gateway: Gateway, run_id: str, *, logs_to_stderr: bool = False) -> Outcome:
    """Prints what changes (stderr) and what the steps say (stdout) until the run has ended or needs a person."""
    document = runs.run_document(await gateway.pipelines.get_run(run_id))
    printer = LogPrinter.for_run(client, document, to_stderr=logs_to_stderr)
    transitions = live.Transitions()
    feed = gateway.state.log_feed(run_id)

    def say(update: RunUpdate) -> None:
        for line in transitions.feed(runs.run_update(update)):
            client.say(f"-- {line}", colour="cyan")

    async def read_logs() -> None:
        async for piece in feed.pieces(follow=True):
            printer.print(piece)

    outcome: Outcome | None = None
    async with one_error(), asyncio.TaskGroup() as group:
        reader = group.create_task(read_logs())
        outcome = await wait(gateway, run_id, logs_too=False, watch=say)
        if outcome.run["state"] in outcomes.ENDED:
            await reader  # ends when the logs have settled
        else:
            reader.cancel()
    assert outcome is not None
    if outcome.run["state"] not in outcomes.ENDED:
        # What the server has by now, and the follower was not sent before it was stopped.
        async for piece in feed.pieces(follow=False):
            printer.print(piece)
    printer.finish()
    return outcome


def ended_lines(outcome: Outcome) -> list[str]:
    """What is said at the end of a wait."""
    return outcomes.sentence(outcome.run).splitlines()
