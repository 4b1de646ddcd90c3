"""Sessions between agents and the server: delayed, cut, doubled, never reordered."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from gamenode_pipelines.events import CancelInfo, TaskEvent
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.tasks import Task
from support.simulation.loop import Life, Loop


@dataclass(frozen=True, slots=True)
class Hello:
    node: str
    outbox_id: str
    max_epoch: int
    inventory: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    epoch: int
    acked: int


@dataclass(frozen=True, slots=True)
class Updates:
    records: tuple[tuple[int, TaskEvent], ...]


@dataclass(frozen=True, slots=True)
class Ack:
    acked: int


@dataclass(frozen=True, slots=True)
class Assign:
    task: Task
    plan: Plan


@dataclass(frozen=True, slots=True)
class Cancel:
    task_id: str
    fence: int
    cancel: CancelInfo


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop this assignment at once and keep nothing of it."""

    task_id: str
    fence: int


Frame = Hello | Welcome | Updates | Ack | Assign | Cancel | Drop


class End(Protocol):
    """One side of a session."""

    life: Life

    def receive(self, link: Link, frame: Frame) -> None: ...

    def link_lost(self, link: Link) -> None: ...


class Link:
    """One session's two streams. A frame that is under way when the link is cut is gone."""

    def __init__(self, loop: Loop, rng: Random, agent: End, server: End, *, faulty: bool) -> None:
        self._loop = loop
        self._rng = rng
        self._agent = agent
        self._server = server
        self._life = Life()
        self._free = {True: 0.0, False: 0.0}
        self.faulty = faulty
        self.epoch = 0
        self._agent_life = agent.life
        self._server_life = server.life

    @property
    def open(self) -> bool:
        return self._life.alive

    def to_server(self, frame: Frame) -> None:
        self._send(self._server, self._server_life, frame, up=True)

    def to_agent(self, frame: Frame) -> None:
        self._send(self._agent, self._agent_life, frame, up=False)

    def _send(self, end: End, life: Life, frame: Frame, *, up: bool) -> None:
        if not self.open:
            return
        rng = self._rng
        slow = self.faulty and rng.random() < 0.05
        delay = rng.uniform(0.2, 4.0) if slow else rng.uniform(0.001, 0.05)
        for _ in range(2 if self.faulty and rng.random() < 0.05 else 1):
            moment = max(self._free[up], self._loop.now + delay)
            self._free[up] = moment
            self._loop.later(moment - self._loop.now, life, self._deliver, end, frame)

    def _deliver(self, end: End, frame: Frame) -> None:
        if self.open:
            end.receive(self, frame)

    def cut(self) -> None:
        """Both ends learn of it, each in its own time, if they live."""
        if self.open:
            self._life.alive = False
            for end, life in ((self._agent, self._agent_life), (self._server, self._server_life)):
                self._loop.later(self._rng.uniform(0.0, 3.0), life, end.link_lost, self)
