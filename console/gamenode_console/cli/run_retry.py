"""`gamenode run retry`: a run that has ended, once more."""

from __future__ import annotations

import secrets

import click

from gamenode_console.cli import starting
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_run
from gamenode_console.cli.frame import Command
from gamenode_proto.v1.pipeline_management_pb2 import RetryRunRequest


@click.command(
    "retry",
    cls=Command,
    examples=[
        "gamenode run retry k3jd --failed-only --follow",
        "gamenode run retry k3jd --latest --wait      # after `gamenode pipeline apply` of the mended file",
        "gamenode run retry k3jd -o json | jq -r '.id, .retry_of'",
    ],
)
@click.argument("run", shell_complete=complete_run)
@click.option("--failed-only", is_flag=True, help="Only on nodes where it did not succeed.")
@click.option("--latest", is_flag=True, help="With the newest version of the pipeline.")
@starting.stay_options
@click.option("--request-id", default="", metavar="ID", help="The same id again answers with the same run.")
@click.option("--note", default="", metavar="TEXT", help="Why; kept with the run.")
@click.option("-y", "--yes", is_flag=True, hidden=True)
@pass_client
def retry(
    client: Client,
    run: str,
    failed_only: bool,
    latest: bool,
    stay: starting.Stay,
    request_id: str,
    note: str,
    yes: bool,
) -> int:
    """Run again what has ended: on the same nodes, with the same version and parameters.

    Also of a file: what ran is kept. The new run is another one, and says which it repeats.
    """
    request = RetryRunRequest(
        run=run,
        failed_only=failed_only,
        latest=latest,
        # An id of our own lets a lost answer be asked for again without a second run.
        request_id=request_id or secrets.token_hex(12),
        note=note,
    )
    return starting.start(client, lambda gateway: gateway.pipelines.retry(request), stay)
