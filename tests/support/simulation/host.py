"""A node's machine: its boots, its supervisor with the records that survive everything, and the steps' processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import StepPlan
from gamenode_pipelines.recovery import Evidence, Phase
from support.simulation.loop import Life, Loop


@dataclass(frozen=True, slots=True, order=True)
class Key:
    task_id: str
    fence: int
    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Exit:
    code: int | None
    error: Error | None


@dataclass(slots=True)
class Process:
    key: Key
    life: Life = field(default_factory=Life)


@dataclass(slots=True)
class Record:
    boot: int
    exit: Exit | None = None


class Watch(Protocol):
    """Who sees everything."""

    def spawned(self, key: Key, others: Iterable[Key]) -> None: ...

    def effect(self, key: Key) -> None: ...

    def exited(self, key: Key, exit: Exit) -> None: ...


class Host:
    """The machine of one node. `watch` hears what its processes do."""

    def __init__(self, loop: Loop, rng: Random, watch: Watch) -> None:
        self._loop = loop
        self._rng = rng
        self._watch = watch
        self.boot = 1
        self.supervisor = Life()
        self.records: dict[Key, Record] = {}
        self.processes: dict[Key, Process] = {}
        self.on_ended: Callable[[Key, Exit], None] = lambda key, exit: None
        self.on_lost: Callable[[], None] = lambda: None

    # -- the supervisor --------------------------------------------------------------------------------------------

    def spawn(self, key: Key, step: StepPlan) -> None:
        """Starts an attempt; asking twice starts once. The record is on disk before the process is."""
        if not self.supervisor.alive:
            return
        record = self.records.get(key)
        if record is not None:
            if record.exit is not None:
                self._tell(key, record.exit)
            return
        rng = self._rng
        self.records[key] = Record(self.boot)
        if rng.random() < 0.02:  # the supervisor dies between the two
            self.crash_supervisor()
            return
        self._watch.spawned(key, self.processes)
        process = self.processes[key] = Process(key)
        lasts = rng.choice((0.01, 0.3, 2.0, 9.0)) * rng.uniform(0.5, 1.5)
        fails = rng.random() < (0.5 if step.retry.attempts > 1 else 0.12)
        self._loop.later(lasts * rng.random(), process.life, self._watch.effect, key)
        self._loop.later(lasts, process.life, self._exits, process, Exit(rng.randint(1, 3) if fails else 0, None))

    def stop(self, key: Key, *, force: bool, reason: str) -> None:
        """Ends an attempt, at once or within its grace; it may end by itself before."""
        if not self.supervisor.alive:
            return
        record = self.records.get(key)
        process = self.processes.get(key)
        if process is None:
            if record is not None and record.exit is not None:
                self._tell(key, record.exit)
            return
        exit = Exit(None, Error(Code(reason), "stopped"))
        delay = 0.01 if force else self._rng.uniform(0.01, 1.0)
        self._loop.later(delay, process.life, self._stopped, self.supervisor, process, exit)

    def _stopped(self, by: Life, process: Process, exit: Exit) -> None:
        if by.alive:
            self._end(process, exit)

    def _exits(self, process: Process, exit: Exit) -> None:
        self._watch.exited(process.key, exit)
        self._end(process, exit)

    def _end(self, process: Process, exit: Exit) -> None:
        process.life.alive = False
        del self.processes[process.key]
        if self.supervisor.alive:  # else nobody saw how it ended
            self.records[process.key].exit = exit
            self._tell(process.key, exit)

    def _tell(self, key: Key, exit: Exit) -> None:
        self._loop.later(self._rng.uniform(0.0, 0.02), self.supervisor, self.on_ended, key, exit)

    def start_supervisor(self) -> None:
        """A new one, if there is none. What an earlier one left running is killed before anybody hears of it."""
        if not self.supervisor.alive:
            self._kill_all()
            self.supervisor = Life()

    def crash_supervisor(self) -> None:
        """What it ran goes on, unwatched."""
        self.supervisor.alive = False
        self._loop.later(self._rng.uniform(0.0, 0.5), Life(), self.on_lost)

    def evidence(self, key: Key) -> Evidence:
        """What the supervisor knows of an attempt."""
        record = self.records.get(key)
        same_boot = record is None or record.boot == self.boot
        if record is None:
            return Evidence(Phase.NEVER_STARTED, same_boot, may_have_started=False)
        if record.exit is not None:
            return Evidence(Phase.ENDED, same_boot, may_have_started=True)
        phase = Phase.RUNNING if key in self.processes else Phase.UNKNOWN
        return Evidence(phase, same_boot, may_have_started=True)

    # -- the machine -----------------------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Everything that ran is gone, the files are there."""
        self._kill_all()
        self.supervisor.alive = False
        self.boot += 1

    def _kill_all(self) -> None:
        for process in self.processes.values():
            process.life.alive = False
        self.processes.clear()
