"""What the server is told of the container engine: its facts, and the words for what it can do. Asks nothing."""

from __future__ import annotations

from gamenode_agent.engines.containers import ContainerEngine, EngineInfo
from gamenode_proto.v1.nodes_pb2 import EngineFacts

#: Limits that an engine may be unable to keep, as steps ask for them.
_LIMITS = ("memory", "cpus", "pids")


def capabilities(engine: ContainerEngine | None) -> list[str]:
    """The fixed words for what containers can have here; none while the engine is away."""
    if engine is None or not engine.available or engine.info is None:
        return []
    info = engine.info
    words = ["docker", *(f"docker.limits.{word}" for word in _LIMITS if word not in info.missing_limits)]
    if any(runtime.startswith("nvidia") for runtime in info.runtimes):
        words.append("docker.gpus")
    words += (f"docker.network.{name}" for name in sorted(info.networks))
    return words


def engine_facts(engine: ContainerEngine | None) -> EngineFacts | None:
    """The engine as it stands; None where the agent does without."""
    if engine is None:
        return None
    info = engine.info or EngineInfo("docker", "", "")
    return EngineFacts(
        name=info.name,
        address=engine.address,
        available=engine.available,
        problem="" if engine.available else engine.problem,
        version=info.version,
        api_version=info.api_version,
        storage_driver=info.storage_driver,
        cgroup_version=info.cgroup_version,
        root_dir=info.root_dir,
        live_restore=info.live_restore,
        rootless=info.rootless,
        runtimes=sorted(info.runtimes),
    )
