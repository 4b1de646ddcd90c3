"""One seed of a world: nodes, runs, an operator, and a minute in which anything may go wrong; then peace."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from gamenode_pipelines import recovery, tasks
from gamenode_pipelines.recovery import Decision, Evidence
from gamenode_pipelines.tasks import Task
from support.simulation.agent_shell import AgentShell
from support.simulation.checker import Checker, Violation, states
from support.simulation.host import Host
from support.simulation.loop import Fold, Life, Loop
from support.simulation.network import Link
from support.simulation.plans import any_plan
from support.simulation.server_shell import ServerShell

START = 1000.0
TROUBLE = 60.0
PEACE = 1500.0


class World:
    """Everything of one seed. The three hooks replace a part with a broken one, to see the checker notice."""

    def __init__(
        self,
        seed: int,
        *,
        fold: Fold = tasks.step,
        decide: Callable[[Evidence], Decision] = recovery.decide,
        dedupe: bool = True,
    ) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.loop = Loop(START)
        self.checker = Checker()
        self.server = ServerShell(self.loop, rng, fold=fold, dedupe=dedupe)
        self.hosts: dict[str, Host] = {}
        self.agents: dict[str, AgentShell] = {}
        self.links: list[Link] = []
        self.faulty = True
        #: Nodes whose network is gone.
        self.away: set[str] = set()
        self._operator = Life()
        self._wipes = 1
        for number in range(rng.randint(1, 3)):
            node = f"n{number}"
            host = Host(self.loop, rng, self.checker)
            self.hosts[node] = host
            self.agents[node] = AgentShell(
                node,
                self.loop,
                rng,
                host,
                connect=self._connect,
                fold=fold,
                decide=decide,
                observe=self.checker.stored_by_agent,
            )

    def run(self) -> None:
        """The whole story; raises Violation, or whatever broke."""
        rng, later = self.rng, self.loop.later
        self.server.start()
        for agent in self.agents.values():
            later(rng.uniform(0.0, 3.0), self._operator, agent.start)
        for number in range(rng.randint(1, 4)):
            later(rng.uniform(0.0, 30.0), self._operator, self._create, f"r{number}")
        for _ in range(rng.choice((0, 3, 10, 30))):
            later(rng.uniform(0.0, TROUBLE), self._operator, self._trouble)
        for _ in range(rng.choice((0, 2, 4, 20))):
            later(rng.uniform(0.0, TROUBLE), self._operator, self._person)
        later(TROUBLE, self._operator, self._heal)
        if not self.loop.run(START + PEACE, done=self._quiet):
            raise Violation(f"still not quiet: {states(self.server.disk)}")
        self.checker.judge(self.server.disk)

    def _quiet(self) -> bool:
        if self.faulty:
            return False
        disk = self.server.disk
        if any(agent.disk.kept or not agent.connected for agent in self.agents.values()):
            return False
        return all(run.state.ended or run.state == "needs_attention" for run in disk.runs.values())

    # -- people ----------------------------------------------------------------------------------------------------

    def _create(self, run_id: str) -> None:
        rng = self.rng
        nodes = rng.choices(list(self.agents), k=rng.randint(1, 4))
        self.server.create(
            run_id, any_plan(rng), nodes, max_parallel=rng.choice((0, 1, 2)), max_failures=rng.choice((0, 1, 2))
        )

    def _person(self) -> None:
        rng = self.rng
        if rng.random() < 0.4 and self.server.disk.runs:
            self.server.cancel(rng.choice(list(self.server.disk.runs)), force=rng.random() < 0.3)
        elif rng.random() < 0.2:
            self.server.cancel_task(rng.choice)
        else:
            self.server.resolve(self._judge)

    def _judge(self, stuck: list[Task]) -> tuple[Task, Literal["succeeded", "failed", "retry"]]:
        words: tuple[Literal["succeeded", "failed", "retry"], ...] = ("succeeded", "failed", "retry", "retry")
        return self.rng.choice(stuck), self.rng.choice(words)

    # -- trouble ---------------------------------------------------------------------------------------------------

    def _connect(self, agent: AgentShell) -> Link | None:
        if not self.server.life.alive or agent.node in self.away:
            return None
        link = Link(self.loop, self.rng, agent, self.server, faulty=self.faulty)
        self.links = [old for old in self.links if old.open]
        self.links.append(link)
        self.server.attach(link)
        return link

    def _trouble(self) -> None:
        rng = self.rng
        node = rng.choice(list(self.agents))
        agent, host = self.agents[node], self.hosts[node]
        back = rng.choice((0.1, 1.0, 5.0, 40.0)) * rng.random()
        match rng.choices(
            ("cut", "away", "agent", "server", "supervisor", "reboot", "wipe"), weights=(25, 20, 25, 15, 10, 10, 3)
        )[0]:
            case "cut":
                for link in self.links:
                    if rng.random() < 0.5:
                        link.cut()
            case "away":
                self.away.add(node)
                agent.cut()
                self.loop.later(rng.uniform(5.0, 40.0), self._operator, self.away.discard, node)
            case "agent":
                agent.crash()
                self.loop.later(back, self._operator, agent.start)
            case "server":
                self.server.crash()
                self.loop.later(back, self._operator, self._start_server)
            case "supervisor":
                host.crash_supervisor()
            case "reboot":
                agent.crash()
                host.reboot()
                self.loop.later(back, self._operator, agent.start)
            case "wipe":
                self._wipes += 1
                agent.wipe(self._wipes)
                self.loop.later(back, self._operator, agent.start)

    def _start_server(self) -> None:
        if not self.server.life.alive:
            self.server.start()

    def _heal(self) -> None:
        self.faulty = False
        self.away.clear()
        self._start_server()
        for link in self.links:
            link.faulty = False
        for node, agent in self.agents.items():
            agent.start()
            if not self.hosts[node].supervisor.alive:
                agent.supervisor_lost()
