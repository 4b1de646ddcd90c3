"""`gamenode run`: runs of pipelines."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, live, outcomes, tables, texts
from gamenode_console.cli import following, watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node, complete_pipeline, complete_run
from gamenode_console.cli.frame import Group, list_options, reason_option
from gamenode_console.cli.logprint import LogPrinter
from gamenode_console.cli.output import Listing, is_plain
from gamenode_console.cli.parsing import DURATION, MOMENT
from gamenode_console.cli.run_retry import retry
from gamenode_console.cli.run_steering import approve, pause, reject, resume
from gamenode_console.documents import Document, runs
from gamenode_pipelines.states import RunState
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.pipeline_management_pb2 import RunUpdate


@click.group("run", cls=Group)
def run() -> None:
    """Runs of pipelines. A RUN is an id, or its first 4 or more characters."""


for command in (retry, pause, resume, approve, reject):
    run.add_command(command)


@run.command(
    "ls",
    examples=[
        "gamenode run ls",
        "gamenode run ls --state failed --pipeline deploy",
        "gamenode run ls -q --state running | xargs gamenode run cancel",
        "gamenode run ls -w",
    ],
)
@click.option(
    "--state", type=click.Choice([state.value for state in RunState]), metavar="STATE", help="Only in this state."
)
@click.option("--pipeline", default="", shell_complete=complete_pipeline, help="Only of this pipeline.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The newest N.")
@list_options
@pass_client
def ls(client: Client, state: str | None, pipeline: str, limit: int, listing: Listing) -> None:
    """List runs, newest first."""

    async def fetch(gateway: Gateway) -> list[Document]:
        documents: list[Document] = []
        after = ""
        while len(documents) < limit:
            answer = await gateway.pipelines.list_runs(
                state=state or "", pipeline=pipeline, limit=min(500, limit - len(documents)), after=after
            )
            documents.extend(runs.run(found) for found in answer.runs)
            if not answer.more or not answer.runs:
                break
            after = answer.runs[-1].id
        return documents

    watching.show(client, columns.RUNS, listing, fetch)


def _answer(decision: Document | None) -> str:
    if decision is None:
        return "not given yet"
    word = "approved" if decision["approved"] else "rejected"
    return f"{word} by {decision['by']}" + (f": {decision['reason']}" if decision["reason"] else "")


def _lines(client: Client, document: Document) -> Iterator[str]:
    now = wall_clock()
    pairs = [
        ("Run", document["id"]),
        ("Pipeline", outcomes.pipeline_name(document)),
        ("State", document["state"]),
        ("By", f"{document['created_by']}, {texts.age(document['created_at'], now)} ago"),
        ("Took", columns.duration(document, now)),
        ("Params", tables.text_of(document["params"])),
        ("Target", document["target"] or "-"),
    ]
    if document["retry_of"]:
        pairs.append(("Retry of", document["retry_of"]))
    if (approval := document["approval"]) is not None:
        asked = f"by an {approval['by']}" + (f": {approval['message']}" if approval["message"] else "")
        pairs.append(("Approval", f"{_answer(approval['decision'])}; {asked}"))
    pairs.extend((f"Step {said['step']}", _answer(said)) for said in document["decisions"])
    if (hold := document["paused"]) is not None:
        pairs.append(("Paused", f"by {hold['by']}" + (f": {hold['reason']}" if hold["reason"] else "")))
    if document["group"]:
        pairs.append(("Group", document["group"] + (" (waits for its turn)" if document["queued"] else "")))
    if document["note"]:
        pairs.append(("Note", document["note"]))
    if document["cancel"]:
        pairs.append(("Cancel", f"by {document['cancel']['by']}: {document['cancel']['reason'] or 'no reason given'}"))
    if document["error"]:
        pairs.append(("Error", f"{document['error']['message']} ({document['error']['code']})"))
    yield from tables.facts(pairs)
    yield ""
    yield from client.output.table_lines(columns.run_rows(document), columns.STEPS, Listing())


@run.command(
    "show", examples=["gamenode run show k3jd", "gamenode run show k3jd -o json | jq '.tasks[].steps[].exit_code'"]
)
@click.argument("run", shell_complete=complete_run)
@pass_client
def show(client: Client, run: str) -> None:
    """Show a run: its tasks, their steps, and how they stand."""

    async def work(gateway: Gateway) -> Document:
        return runs.run_document(await gateway.pipelines.get_run(run))

    document = client.run(work)
    client.output.one(document, lambda: _lines(client, document), name=document["id"])


@run.command(
    "watch",
    examples=["gamenode run watch k3jd", "gamenode run watch k3jd -o jsonl | jq -r .run.state"],
)
@click.argument("run", shell_complete=complete_run)
@pass_client
def watch(client: Client, run: str) -> int:
    """Watch a run until it ends: on a terminal a live table with the log beneath, else lines.

    Ctrl-C leaves the run alone. Exits with 1 where the run failed, 9 where it was cancelled.
    """
    if client.output.machine:
        return client.run(lambda gateway: _watch_documents(client, gateway, run))

    async def work(gateway: Gateway) -> following.Outcome:
        run_id = (await gateway.pipelines.get_run(run)).run.id
        client.on_interrupt = outcomes.goes_on(run_id)
        if is_plain(sys.stdout, {**client.env, "NO_COLOR": ""}):
            return await following.follow(client, gateway, run_id)
        from gamenode_console.cli import live_view

        return await live_view.watch(client, gateway, run_id)

    outcome = client.run(work)
    for line in following.ended_lines(outcome):
        client.say(line)
    return outcome.code


async def _watch_documents(client: Client, gateway: Gateway, name: str) -> int:
    """Every update as a JSON line."""
    run_id = (await gateway.pipelines.get_run(name)).run.id
    client.on_interrupt = outcomes.goes_on(run_id)

    def emit(update: RunUpdate) -> None:
        client.output.json_line(runs.run_update(update))
        sys.stdout.flush()

    return (await following.wait(gateway, run_id, logs_too=True, watch=emit)).code


@run.command(
    "wait",
    examples=[
        "gamenode run wait k3jd && echo fine",
        "gamenode run wait k3jd --timeout 10m; echo $?     # 7: timed out",
    ],
)
@click.argument("run", shell_complete=complete_run)
@click.option("--timeout", type=DURATION, help="How long; the run goes on. Exit code 7.")
@pass_client
def wait(client: Client, run: str, timeout: float | None) -> int:
    """Wait for a run; prints nothing, the exit code says it.

    0 succeeded, 1 failed, 7 timed out, 8 needs a person, 9 cancelled.
    """

    async def work(gateway: Gateway) -> int:
        run_id = (await gateway.pipelines.get_run(run)).run.id
        client.on_interrupt = outcomes.goes_on(run_id)
        async with following.deadline(timeout, run_id):
            return (await following.wait(gateway, run_id, logs_too=False)).code

    return client.run(work)


@run.command(
    "cancel",
    examples=[
        "gamenode run cancel k3jd --reason 'wrong image'",
        "gamenode run cancel k3jd 7xqa --force    # without the grace period",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--force", is_flag=True, help="Kill at once, without the steps' grace periods.")
@click.option("-y", "--yes", is_flag=True, hidden=True)
@reason_option
@pass_client
def cancel(client: Client, names: tuple[str, ...], force: bool, yes: bool, reason: str) -> None:
    """Cancel runs: their processes are stopped, then `finally` steps run. Instances that run stay."""

    async def work(gateway: Gateway) -> list[Document]:
        return [runs.run(found) for found in await gateway.pipelines.cancel(names, force=force, reason=reason)]

    documents = client.run(work)
    if client.output.machine or client.output.format == "name":
        client.output.many(documents, columns.RUNS)
    else:
        for document in documents:
            client.output.line(texts.one_line(f"run {document['id']} ({document['pipeline']}): {document['state']}"))


@run.command(
    "logs",
    examples=[
        "gamenode run logs k3jd",
        "gamenode run logs k3jd --node game-1 --step build > build.log      # the bytes as they are",
        "gamenode run logs k3jd -f --tail 20 --timestamps",
        "gamenode run logs k3jd --grep 'error|warn' --since 10m",
    ],
)
@click.argument("run", shell_complete=complete_run)
@click.option("--node", default="", shell_complete=complete_node, help="Only of this node.")
@click.option("--step", default="", help="Only of this step.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--since", type=MOMENT, help="Only what was written after this.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each log.")
@click.option("--grep", metavar="RE", help="Only lines that match this regular expression.")
@click.option("--timestamps", is_flag=True, help="The time in front of each line.")
@click.option("-v", "--verbose", is_flag=True, help="Say at the end of each log whether it is complete.")
@pass_client
def logs(
    client: Client,
    run: str,
    node: str,
    step: str,
    follow: bool,
    since: float | None,
    tail: int | None,
    grep: str | None,
    timestamps: bool,
    verbose: bool,
) -> None:
    """Print what the steps said. Lines of several logs have their node and step in front.

    One log into a file or pipe is printed byte for byte; on a terminal, escapes are shown, not obeyed.
    """
    try:
        pattern = re.compile(grep.encode()) if grep is not None else None
    except re.error as error:
        raise click.UsageError(f"--grep: {grep!r} is no regular expression: {error}") from None

    async def work(gateway: Gateway) -> None:
        document = runs.run_document(await gateway.pipelines.get_run(run))
        if follow and document["state"] not in outcomes.ENDED:
            client.on_interrupt = outcomes.goes_on(document["id"])
        if step and not any(found["id"] == step for task in document["tasks"] for found in task["steps"]):
            known = ", ".join(live.step_names({task["id"]: task for task in document["tasks"]})) or "none"
            raise click.UsageError(f"run {document['id']} has no step {step!r} (steps: {known})")
        printer = LogPrinter.for_run(
            client, document, node=node, step=step, timestamps=timestamps, grep=pattern, verbose=verbose
        )
        feed = gateway.state.log_feed(
            document["id"], node=node, step=step, since=since or 0.0, tail=-1 if tail is None else tail
        )
        try:
            async for piece in feed.pieces(follow=follow):
                printer.print(piece)
        finally:
            printer.finish()

    client.run(work)


@run.command("explain", examples=["gamenode run explain k3jd"])
@click.argument("run", shell_complete=complete_run)
@pass_client
def explain(client: Client, run: str) -> None:
    """Say why a run does not move, and what each task waits for."""

    async def work(gateway: Gateway) -> Document:
        return runs.explanation(await gateway.pipelines.explain(run))

    document = client.run(work)

    def human() -> Iterator[str]:
        yield texts.one_line(document["summary"])
        for task in document["tasks"]:
            yield texts.one_line(f"  {task['node']}: {task['text']}")

    client.output.one(document, human, name=run)


@run.command(
    "resolve",
    examples=["gamenode run resolve k3jd --node game-1 --as succeeded --reason 'the map is there, looked myself'"],
)
@click.argument("run", shell_complete=complete_run)
@click.option("--node", required=True, shell_complete=complete_node, help="The node whose task it is about.")
@click.option(
    "--as",
    "outcome",
    required=True,
    type=click.Choice(["succeeded", "failed", "retry"]),
    help="What became of it; `retry` runs it again under a new fence.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why; goes into the audit log.")
@click.option("-y", "--yes", is_flag=True, hidden=True)
@pass_client
def resolve(client: Client, run: str, node: str, outcome: str, reason: str, yes: bool) -> int:
    """Decide about a task that may have run and cannot move by itself."""
    if not reason.strip():
        raise click.UsageError("--reason must say something")

    async def work(gateway: Gateway) -> Document:
        return runs.task(await gateway.pipelines.resolve(run, node=node, outcome=outcome, reason=reason))

    document = client.run(work)
    client.output.one(
        document, lambda: [texts.one_line(f"{document['node']}: {document['state']}")], name=document["id"]
    )
    return ExitCode.OK
