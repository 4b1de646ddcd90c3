"""A real server with many fake nodes that take work: each has its certificate, its sessions over TLS, and no processes.

`python -m support.working_fleet --data-dir DIR --nodes 200 --seconds 1.5` prints `ready`, and serves until its input
ends. A step takes about SECONDS, says a line at its beginning and one at its end, and succeeds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
from pathlib import Path
from typing import Any

from gamenode_pipelines.events import LogSummary, StepEnded, StepStarted, TaskAccepted, TaskStarted
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.v1 import agent_link_pb2, common_pb2
from gamenode_server.config import ServerSettings
from support.scripted_agent import FAST, ScriptedAgent, Site, site

#: So many join at once.
AT_ONCE = 8
HEARTBEAT = 5.0


class Worker:
    """One fake node: carries out what it is assigned, one step after the other."""

    def __init__(self, agent: ScriptedAgent, seconds: float, chance: random.Random) -> None:
        self._agent = agent
        self._seconds = seconds
        self._chance = chance
        self._taken: set[tuple[str, int]] = set()
        self._logs: Any = None
        #: A stream takes one write at a time.
        self._saying, self._logging = asyncio.Lock(), asyncio.Lock()

    async def live(self) -> None:
        """Works until it is cancelled."""
        self._logs = self._agent.stub.Logs()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._hear_of_logs())
            while True:
                frame = await self._agent.read()
                if frame.WhichOneof("body") != "assign":
                    continue
                task = frame.assign.task
                if (task.id, task.fence) not in self._taken:
                    self._taken.add((task.id, task.fence))
                    group.create_task(self._carry_out(task))

    async def _beat(self) -> None:
        await asyncio.sleep(HEARTBEAT * self._chance.random())
        number = 0
        while True:
            number += 1
            async with self._saying:
                await self._agent.beat(number, now=wall_clock())
            await asyncio.sleep(HEARTBEAT)

    async def _hear_of_logs(self) -> None:
        async for _ in self._logs:
            pass  # nothing is ever cut off, so nothing is said twice

    async def _carry_out(self, task: Any) -> None:
        await self._report(task, TaskAccepted(), TaskStarted())
        for step in task.steps:
            await self._report(task, StepStarted(step.id, 1))
            first = f"{step.id} begins on {self._agent.name}\n".encode()
            await self._say(task, step.id, 0, first)
            await asyncio.sleep(self._seconds * (0.5 + self._chance.random()))
            second = f"{step.id} is done\n".encode()
            await self._say(task, step.id, len(first), second)
            data = first + second
            log = LogSummary(lines=2, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            await self._report(task, StepEnded(step.id, 1, exit_code=0, log=log))
            await self._end(task, step.id, log)

    async def _report(self, task: Any, *bodies: Any) -> None:
        async with self._saying:
            await self._agent.report(task.id, *bodies, fence=task.fence, at=wall_clock())

    def _ref(self, task: Any, step: str) -> common_pb2.AttemptRef:
        return common_pb2.AttemptRef(task_id=task.id, fence=task.fence, step_id=step, attempt=1)

    async def _say(self, task: Any, step: str, offset: int, data: bytes) -> None:
        record = agent_link_pb2.ChunkRecord(time=wall_clock(), length=len(data), stream=1)
        chunk = agent_link_pb2.LogChunk(ref=self._ref(task, step), offset=offset, data=data, records=[record])
        async with self._logging:
            await self._logs.write(agent_link_pb2.LogUpload(chunk=chunk))

    async def _end(self, task: Any, step: str, log: LogSummary) -> None:
        summary = common_pb2.LogSummary(lines=log.lines, bytes=log.bytes, sha256=log.sha256)
        end = agent_link_pb2.LogEnd(ref=self._ref(task, step), summary=summary)
        async with self._logging:
            await self._logs.write(agent_link_pb2.LogUpload(end=end))


async def workers(there: Site, count: int, seconds: float) -> list[Worker]:
    """So many nodes, all of them online."""
    limit = asyncio.Semaphore(AT_ONCE)
    chance = random.Random(7)

    async def one(number: int) -> Worker:
        async with limit:
            agent = await there.agent(f"node-{number:03}", region=("eu", "us")[number % 2])
            return Worker(agent, seconds, chance)

    return await asyncio.gather(*map(one, range(count)))


async def serve(data_dir: Path, *, nodes: int, seconds: float) -> None:
    """Serves until the input ends."""
    usual = ServerSettings(data_dir=data_dir)
    async with site(data_dir, **{name: getattr(usual, name) for name in FAST}, log_level="error") as there:
        made = await workers(there, nodes, seconds)
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(worker.live()) for worker in made]
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            for task in working:
                task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.5)
    told = parser.parse_args()
    asyncio.run(serve(told.data_dir, nodes=told.nodes, seconds=told.seconds))


if __name__ == "__main__":
    main()
