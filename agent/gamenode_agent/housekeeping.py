"""What is thrown away, and when: old records and tasks, kept workspaces, the folders of attempts that are done with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.config import AgentSettings
from gamenode_agent.engines.attempts import Attempts
from gamenode_agent.journal import Attempt, Entry, Journal, StorageFull
from gamenode_agent.outbox import Outbox
from gamenode_agent.runner.runner import Runner
from gamenode_agent.runner.workspace import Workspaces
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import Clock, wall_clock

logger = logging.getLogger(__name__)

#: Attempts that are done with are forgotten with the next entry of the journal, or after this long in one of their own.
_DROP_DELAY = 1.0


class Housekeeping:
    """Throws away what nobody needs any more."""

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        settings: AgentSettings,
        clock: Clock,
        journal: Journal,
        outbox: Outbox,
        runner: Runner,
        attempts: Attempts,
        workspaces: Workspaces,
        artifacts: ArtifactDesk,
    ) -> None:
        self._group = group
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._outbox = outbox
        self._runner = runner
        self._attempts = attempts
        self._workspaces = workspaces
        self._artifacts = artifacts
        self._dropping: asyncio.TimerHandle | None = None

    async def run(self) -> NoReturn:
        """Goes round from time to time."""
        settings = self._settings
        while True:
            try:
                tidied = await self._journal.tidy(
                    acked=self._outbox.acked,
                    older_than=self._clock.now() - settings.retention_age,
                    max_bytes=settings.retention_bytes,
                    keep=self._runner.digests_in_use(),
                )
                self._outbox.first = max(self._outbox.first, tidied.first_seq)
                self._runner.forgotten(tidied.forgotten)
            except StorageFull as error:
                logger.warning("no housekeeping: %s", error.message)
            await asyncio.to_thread(
                self._workspaces.sweep,
                self._workspaces.kept(self._runner.live_keys()),
                wall_now=wall_clock(),
                keep=settings.workspace_keep,
                max_bytes=settings.workspace_bytes,
            )
            try:
                await self._artifacts.sweep(wall_clock())
            except GameNodeError as error:  # asked again in the next round
                logger.debug("artifacts are not swept: %s", error.message)
            await asyncio.sleep(settings.tidy_interval)

    def log_is_there(self, key: Attempt) -> None:
        """The server has an attempt's log whole: nobody needs the attempt any more.

        Its folder goes after the note of it: an attempt without a folder has lost its log, and is told to have.
        """
        self._journal.drop_later(key)
        if self._dropping is None:
            self._dropping = asyncio.get_running_loop().call_later(_DROP_DELAY, self._drop)

    def dropped(self, keys: Sequence[Attempt]) -> None:
        """The journal has forgotten these attempts."""
        for key in keys:
            self._attempts.forget(key)

    def close(self) -> None:
        """Leaves the rest to the next process."""
        if self._dropping is not None:
            self._dropping.cancel()

    def _drop(self) -> None:
        self._dropping = None
        if self._journal.pending_drops:
            self._group.create_task(self._drop_now())

    async def _drop_now(self) -> None:
        try:
            await self._journal.commit(Entry(at=self._clock.now()))
        except StorageFull as error:
            logger.debug("%s", error.message)
