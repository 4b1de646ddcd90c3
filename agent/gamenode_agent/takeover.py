"""Finding again what runs while nobody looks: when the agent starts, and whenever the supervisor was lost.

Asks the supervisor what became of every attempt the journal knows, has the runner draw its conclusions, and ends what
is nobody's any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NoReturn

from gamenode_agent.engines.attempts import Attempts
from gamenode_agent.engines.processes import as_attempt
from gamenode_agent.journal import Attempt, AttemptRow, Contents, Journal
from gamenode_agent.link.logs import LogShipper
from gamenode_agent.runner.runner import Runner
from gamenode_agent.supervisor.client import AttemptReport, Phase
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.common_pb2 import LogSummary

logger = logging.getLogger(__name__)

#: Pause between two tries to get a supervisor.
_RETRY = 1.0


class Takeover:
    """Brings attempts, tasks and logs back together."""

    def __init__(self, *, journal: Journal, attempts: Attempts, runner: Runner, logs: LogShipper, boot_id: str) -> None:
        self._journal = journal
        self._attempts = attempts
        self._runner = runner
        self._logs = logs
        self._boot_id = boot_id
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """Something was asked of the supervisor, and nobody knows whether it was done."""
        self._doubt.set()

    async def at_start(self, contents: Contents) -> None:
        """Takes up everything the journal has. Raises GameNodeError where there is no supervisor to be had."""
        await self._attempts.connect()
        attempts = {row.key: row.boot_id for row in contents.attempts}
        reports = await self._attempts.recover(attempts)
        for report in await self._attempts.known():
            if report.phase is Phase.RUNNING and as_attempt(report.key) not in attempts:
                # A journal that was lost: what it started ends by itself or at its timeout, and is not ours to stop.
                logger.warning("an attempt runs that the journal does not know", extra={"attempt": str(report.key)})
                attempts[as_attempt(report.key)] = self._boot_id
        self._attempts.sweep(attempts)  # before a first new one is made
        taken_up, kill = await self._runner.restore(contents, reports, boot_id=self._boot_id)
        await self._kill(kill)
        # Tasks have been moving since: what of them is over by now has told its log by itself.
        under_way = set(self._runner.under_way())
        for row in contents.attempts:
            if row.ended or row.key in under_way:
                self._offer_log(row, reports.get(row.key))
            elif (row.key.task_id, row.key.fence) not in taken_up:
                await self._drop_stray(row.key, reports)

    async def watch(self) -> NoReturn:
        """Brings the supervisor back whenever it is lost, and settles what it ran."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._attempts.connect()
                attempts = dict.fromkeys(self._runner.under_way(), self._boot_id)
                reports = await self._attempts.recover(attempts)
                logger.warning("the supervisor is back", extra={"attempts": len(attempts)})
                await self._kill(self._runner.settle(reports))
            except GameNodeError as error:
                logger.error("the supervisor is lost: %s", error.message)
                await asyncio.sleep(_RETRY)
                self._doubt.set()

    async def _drop_stray(self, key: Attempt, reports: Mapping[Attempt, AttemptReport]) -> None:
        """An attempt of an assignment that another one took the place of while nobody looked."""
        report = reports.get(key)
        if report is not None and report.phase is Phase.RUNNING:
            await self._kill([key])
        self._journal.drop_later(key)

    async def _kill(self, attempts: list[Attempt]) -> None:
        for key in attempts:
            await self._attempts.stop(key, force=True, code=Code.LOST, reason="nobody knows how far it got")

    def _offer_log(self, row: AttemptRow, report: AttemptReport | None) -> None:
        path = self._attempts.log_path(row.key)
        if row.ended:
            self._logs.ended(row.key, path, LogSummary.FromString(row.log))
        elif report is not None and report.size:
            self._logs.grown(row.key, path, report.size)
