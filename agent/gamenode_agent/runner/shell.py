"""What every live task works with, made once by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gamenode_agent.engines.attempts import Attempts
from gamenode_agent.journal import Attempt, Journal
from gamenode_agent.runner.workspace import Workspaces
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.events import LogSummary
from gamenode_proto.process.clock import Clock

if TYPE_CHECKING:
    from gamenode_agent.runner.live import LiveTask


@dataclass(frozen=True, slots=True)
class Shell:
    """What every live task works with."""

    group: asyncio.TaskGroup
    journal: Journal
    clock: Clock
    attempts: Attempts
    tools: Tools
    workspaces: Workspaces
    log_ended: Callable[[Attempt, LogSummary], None]
    #: After every commit, with the newest record that tells of the task.
    on_commit: Callable[[LiveTask, int], None]
    on_finished: Callable[[LiveTask], None]
    #: An attempt was asked for and nobody knows whether it started.
    on_doubt: Callable[[], None]
    storage_retry: float
    boot_id: str
