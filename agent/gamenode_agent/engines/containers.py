"""What the agent wants from a container engine, and what it knows of containers. The seam: knows no engine.

An engine is asked from one loop. Calls that change something are carried through: cancelled, they first end and then
raise CancelledError, so that whoever cleans up finds all there is. Errors are GameNodeError: ENGINE_UNAVAILABLE (it
cannot be reached; the message says why and what to do), IMAGE_MISSING, NAME_CONFLICT, CONTAINER_GONE,
INVALID_ARGUMENT (the engine will not have it so), INSUFFICIENT_RESOURCES (a port or device is taken).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from gamenode_pipelines.errors import GameNodeError

#: What every container of ours carries, besides what its step gives it. `cluster` makes it ours.
LABEL: Final = "io.gamenode."
CLUSTER, NODE, RUN, TASK, STEP, ATTEMPT, FENCE = (
    f"{LABEL}{word}" for word in ("cluster", "node", "run", "task", "step", "attempt", "fence")
)
#: How the agent starts it again: `no`, `on-failure`, `on-failure:5`, `always`, `unless-stopped`.
RESTART: Final = f"{LABEL}restart"
#: How it is stopped where nobody says otherwise, as JSON: {"signal", "grace", "command", "via"}.
STOP: Final = f"{LABEL}stop"
#: The hash of what it was made from: the same name asked for with another one is a conflict.
SPEC: Final = f"{LABEL}spec"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself. `cpus` in cores, `memory` in bytes."""

    name: str
    version: str
    api_version: str
    root_dir: str = ""
    storage_driver: str = ""
    cgroup_version: str = ""
    live_restore: bool = False
    rootless: bool = False
    runtimes: tuple[str, ...] = ()
    #: Limits it says it cannot keep: of `memory`, `cpus`, `pids`, `swap`.
    missing_limits: tuple[str, ...] = ()
    #: Networks that are there by name, e.g. `bridge`, `host`, `none`.
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there."""

    id: str
    tags: tuple[str, ...] = ()
    #: The names and digests a registry gave it; none where it was built or loaded here.
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A published port. `host_port` 0 lets the engine choose."""

    container_port: int
    protocol: str = "udp"
    host_port: int = 0
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host, or a named volume, in the container."""

    source: str
    target: str
    read_only: bool = False
    volume: bool = False


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A command the engine runs to see whether the container is well. Seconds."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A container to make: every field of `container.run` that is the engine's, with its values in it.

    Bytes, cores, counts; 0, empty and None leave it to the image or the engine. The engine's own restart policy is
    never used.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortMapping, ...] = ()
    mounts: tuple[Mount, ...] = ()
    #: Path → options, e.g. `size=64m`.
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    shm_size: int = 0
    #: `/dev/x[:/dev/y[:rwm]]`.
    devices: tuple[str, ...] = ()
    #: `all`, a number as text, or ids joined by commas.
    gpus: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    network: str = ""
    hostname: str = ""
    user: str = ""
    workdir: str = ""
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    cpus: float = 0.0
    memory: int = 0
    pids: int = 0
    #: Name → (soft, hard).
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    healthcheck: HealthCheck | None = None
    stop_signal: str = ""
    stop_grace: float | None = None
    log_driver: str = ""
    log_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine shows it. Times are Unix seconds of the engine's clock; 0: not yet."""

    id: str
    name: str
    image: str
    state: str
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    health: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    #: Of one that runs: when it had ended before it was started again.
    last_end: float = 0.0
    ports: tuple[PortMapping, ...] = ()
    tty: bool = False
    memory_limit: int = 0
    #: Its address in its first network; empty on the host's.
    address: str = ""

    @property
    def running(self) -> bool:
        """Whether any of its processes may be alive."""
        return self.state in ("running", "paused", "restarting")

    @property
    def ended(self) -> bool:
        """Whether it has run and does no more."""
        return self.state in ("exited", "dead")


class LogLine(NamedTuple):
    """A line of a container's log, or a part of one too long for the engine. `data` has its newline, if there was one.

    `mark` names the line among all of this log: the engine's own time of it, exact, and which of those of that time.
    `time` is the same in Unix seconds.
    """

    mark: str
    time: float
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running container uses: seconds of CPU since it began, bytes, processes and threads."""

    cpu_seconds: float
    memory: int
    pids: int = 0


@dataclass(frozen=True, slots=True)
class ExecStatus:
    """A command in a container: `pid` on the host, 0 where it is not running; `exit_code` None until it ended."""

    id: str
    running: bool
    pid: int = 0
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to a container: `create`, `start`, `die`, `oom`, `destroy`, `health_status`, `rename`, …

    `exit_code` is set for `die`.
    """

    id: str
    action: str
    time: float
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None


class NotAsked(GameNodeError):
    """ENGINE_UNAVAILABLE, and the call never reached the engine: nothing of it was done."""


class HalfStarted(GameNodeError):
    """STATE_CONFLICT: the engine went away in the middle of a start. The container may have run, and may never be
    started again; nothing of it runs."""


Progress = Callable[[str], None]


class ContainerEngine(Protocol):
    """A container engine. See the module for what holds of every call."""

    @property
    def address(self) -> str:
        """Where it is asked, e.g. `unix:///var/run/docker.sock`; empty while none was found."""
        ...

    @property
    def available(self) -> bool:
        """Whether it answered when it was last asked; kept true by a watch of its own."""
        ...

    @property
    def problem(self) -> str:
        """Why it is not available, and what to do; empty while it is."""
        ...

    @property
    def info(self) -> EngineInfo | None:
        """What it said of itself when it was last found."""
        ...

    @property
    def outages(self) -> int:
        """How often it went away since the agent started: a container that ended across one may be its doing."""
        ...

    async def ready(self, within: float) -> None:
        """Waits until it is available, at most so many seconds; raises ENGINE_UNAVAILABLE."""
        ...

    async def accepting(self) -> bool:
        """Whether it answers on a new connection at this moment, raising nothing.

        An engine that was told to stop takes none while it still ends its containers and serves old connections: so a
        container that ended then was ended by it.
        """
        ...

    def subscribe(self, listener: Callable[[ContainerEvent | None], None]) -> Callable[[], None]:
        """Calls `listener` on the loop with every event, and with None whenever events may have been missed (the
        engine came back or went away): then look again. Returns what ends the subscription."""
        ...

    async def image(self, reference: str) -> Image | None:
        """An image by tag or id, if it is there."""
        ...

    async def pull(self, reference: str, progress: Progress) -> Image:
        """Gets an image from its registry. `progress` gets lines for a log, not more than a few a second."""
        ...

    async def load(self, archive: Path, progress: Progress) -> Sequence[Image]:
        """Loads the images of a `docker save` archive."""
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Makes a container and returns its id; nothing of it runs yet."""
        ...

    async def start(self, container: str) -> None:
        """Starts one that was created or has ended; one that runs is left alone.

        ENGINE_UNAVAILABLE: it may run or have run, whatever its state says then, unless it is NotAsked. HalfStarted.
        """
        ...

    async def inspect(self, container: str) -> Container | None:
        """A container by id or name, if it is there."""
        ...

    async def containers(self) -> Sequence[Container]:
        """Every container, those that do not run too. `pid`, `oom_killed` and the like may be left out."""
        ...

    async def wait(self, container: str) -> Container:
        """The container once it has ended, however long that takes, over outages of the engine too.

        Raises CONTAINER_GONE when it is removed.
        """
        ...

    async def stop(self, container: str, *, signal: str, grace: float) -> Container:
        """Ends a container: the signal (empty: its own), `grace` seconds, SIGKILL; returns it as it ended.

        Cancelled, it waits no longer: a signal that was sent stays sent.
        """
        ...

    async def kill(self, container: str, *, signal: str = "KILL") -> None:
        """Sends a signal; one that does not run is left alone."""
        ...

    async def restart(self, container: str, *, signal: str, grace: float) -> None:
        """Stops it as `stop` does, and starts it again."""
        ...

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Removes a container and its anonymous volumes; one that is gone is fine. STATE_CONFLICT if it runs and not
        `force`, which leaves nothing of it."""
        ...

    def logs(
        self, container: str, *, after: str = "", since: float = 0.0, tail: int = -1, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """Its log, oldest first; with `follow`, on until it ends, over outages of the engine, without gap or repeat.

        `after` is a `mark`: the lines behind that one. Bounded in memory: a slow reader holds the engine back.
        """
        ...

    async def write_stdin(self, container: str, data: bytes) -> None:
        """Writes to the standard input of a running container that was made with `stdin_open`.

        CONTAINER_GONE; STATE_CONFLICT: stopped, or without an input.
        """
        ...

    async def exec_create(
        self, container: str, command: Sequence[str], *, user: str = "", workdir: str = "", env: Mapping[str, str]
    ) -> str:
        """Prepares a command in a running container; returns its id. CONTAINER_GONE; STATE_CONFLICT: stopped."""
        ...

    def exec_start(self, exec_id: str) -> AsyncIterator[tuple[int, bytes]]:
        """Starts it: (stream, bytes) as they come, until it ends or the engine goes away (ENGINE_UNAVAILABLE)."""
        ...

    async def exec_inspect(self, exec_id: str) -> ExecStatus | None:
        """How a command stands; None when the engine does not know it (any more)."""
        ...

    async def usage(self, containers: Sequence[Container]) -> Mapping[str, Usage]:
        """What these running containers use, by id, within milliseconds; those that cannot be measured are left out."""
        ...

    async def run(self) -> None:
        """Watches the engine until cancelled: finds it, follows its events, finds it again. Never raises for it."""
        ...

    async def close(self) -> None:
        """Ends threads and connections; containers are left alone."""
        ...
