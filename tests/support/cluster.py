"""Real servers and agents as processes on loopback, started, killed and looked at by tests.

Every interval runs at about a twentieth of real time. Processes are stopped by their pid when the test ends, also those
that an agent leaves behind on purpose.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gamenode_console import discovery
from gamenode_console.gateway import Gateway, open_gateway
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support.waiting import until

#: Settings at a twentieth of real time, for every process of a cluster.
FAST = {
    "GAMENODE_HEARTBEAT": "250ms",
    "GAMENODE_SUSPECT": "1s",
    "GAMENODE_OFFLINE": "3s",
    "GAMENODE_METRICS_INTERVAL": "500ms",
    "GAMENODE_KEEPALIVE_TIME": "500ms",
    "GAMENODE_KEEPALIVE_TIMEOUT": "250ms",
    "GAMENODE_RECONNECT_BASE": "50ms",
    "GAMENODE_RECONNECT_MAX": "500ms",
    "GAMENODE_SILENCE_LIMIT": "1s",
}
START_SECONDS = 30.0


@dataclass
class Daemon:
    """One process that prints a line when it is ready."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    ready: str = ""

    @property
    def pid(self) -> int:
        """The pid of the running process."""
        assert self.process is not None
        return self.process.pid

    async def start(self, *, wait: bool = True, env: Mapping[str, str] | None = None) -> None:
        """Starts it and, with `wait`, waits for its ready line."""
        assert self.process is None or self.process.returncode is not None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**self.env, **(env or {})},
            )
        if wait:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        """Waits for the ready line."""
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready:\n{self.log.read_text()[-4000:]}") from None
        self.ready = line.decode().strip()
        assert self.ready, f"{self.name} ended with {await self.process.wait()}:\n{self.log.read_text()[-4000:]}"

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal and waits for the end; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await asyncio.wait_for(self.process.wait(), 20)
        if self.process.stdout is not None:
            self.process.stdout._transport.close()  # type: ignore[attr-defined]
        return code

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.returncode is None


@dataclass
class Agent(Daemon):
    """A gamenode-agent with its own data dir."""

    data_dir: Path = Path()

    @property
    def supervisor_pid(self) -> int | None:
        """The pid of its supervisor, if there is one."""
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = " ".join(process.info["cmdline"] or ())
            if "supervisor" in words and str(self.data_dir) in words:
                return int(process.info["pid"])
        return None


@dataclass
class Cluster:
    """One server and its agents."""

    directory: Path
    env: Mapping[str, str]
    server: Daemon = field(init=False)
    agents: list[Agent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = self._server(0, 0)

    @property
    def data_dir(self) -> Path:
        """The server's data dir."""
        return self.directory / "server"

    def _server(self, port: int, join_port: int) -> Daemon:
        argv = [sys.executable, "-m", "gamenode_server", "--data-dir", str(self.data_dir)]
        argv += ["--listen", f"127.0.0.1:{port}", "--join-listen", f"127.0.0.1:{join_port}"]
        return Daemon("gamenode-server", argv, self.env, self.directory / "server.log")

    @property
    def server_file(self) -> dict[str, Any]:
        """`server.json` as it stands."""
        document: dict[str, Any] = json.loads((self.data_dir / "server.json").read_text())
        return document

    async def start_server(self, *, env: Mapping[str, str] | None = None, wait: bool = True) -> None:
        """Starts the server; from the second time on, on the ports of the first."""
        await self.server.start(env=env, wait=wait)
        if wait and self.server.argv[-1].endswith(":0"):
            ports = [int(self.server_file[key].rpartition(":")[2]) for key in ("listen", "join_listen")]
            running = self.server.process
            self.server = self._server(*ports)
            self.server.process = running

    async def join(self, name: str, *, labels: Mapping[str, str] | None = None, advertise: str = "") -> Agent:
        """Makes a token and joins a new agent, which is not started yet."""
        data_dir = self.directory / name
        async with self.gateway() as gateway:
            token = (await gateway.administration.create_join_token(ttl=600, uses=1)).token
        argv = [sys.executable, "-m", "gamenode_agent"]
        options = ["--data-dir", str(data_dir)]
        words = [*argv, "join", token, *options, "--name", name]
        for key, value in (labels or {}).items():
            words += ["--label", f"{key}={value}"]
        await run_to_end(words, env=self.env)
        if advertise:
            await run_to_end([*argv, "set-server", advertise, *options], env=self.env)
        agent = Agent(name, [*argv, "run", *options], self.env, self.directory / f"{name}.log", data_dir=data_dir)
        self.agents.append(agent)
        return agent

    async def start_agent(self, name: str, **options: Any) -> Agent:
        """Joins an agent and starts it; it is connected when this returns."""
        agent = await self.join(name, **options)
        await agent.start()
        return agent

    @asynccontextmanager
    async def gateway(self, patience: float = 30.0) -> AsyncIterator[Gateway]:
        """The control API of this cluster's server."""
        target = discovery.find_target(discovery.Place(self.data_dir, "the test"))
        async with open_gateway(target, patience=patience) as gateway:
            yield gateway

    async def cli(self, *words: str, code: int | None = 0, stdin: str = "") -> str:
        """What `gamenode WORDS` prints on stdout; asserts its exit code unless `code` is None."""
        argv = [sys.executable, "-m", "gamenode_console", "--data-dir", str(self.data_dir), *words]
        return (await run_to_end(argv, env=self.env, code=code, stdin=stdin))[0]

    async def stop(self) -> None:
        """Ends every process of the cluster, steps included."""
        for daemon in (*self.agents, self.server):
            if daemon.runs:
                await daemon.kill(signal.SIGKILL)
        end_processes_of(self.directory)


async def run_to_end(
    argv: Sequence[str], *, env: Mapping[str, str], code: int | None = 0, stdin: str = "", seconds: float = 60.0
) -> tuple[str, str, int]:
    """Runs a command; (stdout, stderr, exit code). Asserts the code unless it is None, and that no traceback shows."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{' '.join(argv)} did not end in {seconds} s") from None
    assert b"Traceback" not in err, err.decode()
    if code is not None:
        assert process.returncode == code, f"{argv}: exit {process.returncode}\n{out.decode()}\n{err.decode()}"
    return out.decode(), err.decode(), process.returncode or 0


def end_processes_of(directory: Path) -> None:
    """Kills what still runs for a test's directory: supervisors by their arguments, steps by their environment."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid == os.getpid():
            continue
        try:
            words = process.info["cmdline"] or ()
            mine = any(str(directory) in word for word in words) or str(directory) in process.environ().get(
                "GAMENODE_WORKSPACE", ""
            )
            if mine:
                process.kill()
        except psutil.Error:
            continue


@asynccontextmanager
async def running_cluster(
    directory: Path,
    *,
    agents: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    real_intervals: bool = False,
) -> AsyncIterator[Cluster]:
    """A server with connected agents of these names (each labelled `role=game`), stopped at the end."""
    home = directory / "home"
    home.mkdir(parents=True, exist_ok=True)
    base = {key: value for key, value in os.environ.items() if not key.startswith("GAMENODE_")}
    cluster = Cluster(directory, {**base, "HOME": str(home), **({} if real_intervals else FAST), **(env or {})})
    try:
        await cluster.start_server()
        for name in agents:
            await cluster.start_agent(name, labels={"role": "game"})
        yield cluster
    finally:
        await cluster.stop()


async def start_run(
    gateway: Gateway, text: str, *, nodes: Sequence[str] = (), every: bool = True, **params: str
) -> RunDocument:
    """Starts a run of a pipeline given as text, on these nodes or on all."""
    values = {key: common_pb2.Value(text=value) for key, value in params.items()}
    return await gateway.pipelines.run(
        pipeline_management_pb2.RunPipelineRequest(
            source=pipeline_management_pb2.PipelineSource(file="test.yaml", text=text),
            params=values,
            nodes=nodes,
            all=every and not nodes,
            request_id=os.urandom(8).hex(),
        )
    )


def state_of(document: RunDocument) -> RunState:
    """The state of a run's document."""
    return RunState(common_pb2.RunState.Name(document.run.state).removeprefix("RUN_STATE_").lower())


async def settled(gateway: Gateway, run_id: str, seconds: float = 60.0) -> RunDocument:
    """The document of a run once it has ended, or needs a person."""

    async def look() -> RunDocument | None:
        document = await gateway.pipelines.get_run(run_id)
        state = state_of(document)
        return document if state.ended or state is RunState.NEEDS_ATTENTION else None

    document: RunDocument = await until(look, seconds=seconds, what=f"run {run_id} to settle")
    return document
