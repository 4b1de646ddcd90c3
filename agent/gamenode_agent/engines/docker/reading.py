"""What the engine says, as the seam's records. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gamenode_agent.engines.containers import Container, ContainerEvent, EngineInfo, PortMapping

_LIMITS = {"memory": "MemoryLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit", "swap": "SwapLimit"}
#: Attributes of an event that are no labels.
_ATTRIBUTES = frozenset({"name", "image", "exitCode", "signal", "execDuration", "oldName", "execID"})


def engine_info(
    info: Mapping[str, Any], version: Mapping[str, Any], networks: Sequence[Mapping[str, Any]]
) -> EngineInfo:
    """From `/info`, `/version` and `/networks`."""
    components = " ".join(str(part.get("Name", "")) for part in version.get("Components") or ())
    return EngineInfo(
        name="podman" if "podman" in components.lower() else "docker",
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        root_dir=str(info.get("DockerRootDir", "")),
        storage_driver=str(info.get("Driver", "")),
        cgroup_version=str(info.get("CgroupVersion", "")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        rootless=any("rootless" in option for option in info.get("SecurityOptions") or ()),
        runtimes=tuple(sorted(info.get("Runtimes") or ())),
        missing_limits=tuple(word for word, key in _LIMITS.items() if info.get(key) is False),
        networks=tuple(sorted(str(network["Name"]) for network in networks)),
    )


def seconds(text: str) -> float:
    """Unix seconds of an RFC 3339 time; 0 for Go's zero time and for none."""
    if not text or text.startswith("0001-"):
        return 0.0
    return datetime.datetime.fromisoformat(text).timestamp()


def inspected(said: Mapping[str, Any]) -> Container:
    """From `/containers/ID/json`."""
    state, config = said["State"], said["Config"]
    networks = (said.get("NetworkSettings") or {}).get("Networks") or {}
    status = str(state["Status"])
    running = status in ("running", "paused", "restarting")
    finished_at = seconds(state.get("FinishedAt", ""))
    return Container(
        id=said["Id"],
        name=said["Name"].removeprefix("/"),
        image=config["Image"],
        state=status,
        image_id=said["Image"],
        labels=config.get("Labels") or {},
        pid=state.get("Pid") or 0,
        exit_code=int(state.get("ExitCode") or 0) if status in ("exited", "dead") else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        health=(state.get("Health") or {}).get("Status", ""),
        created_at=seconds(said["Created"]),
        started_at=seconds(state.get("StartedAt", "")),
        finished_at=0.0 if running else finished_at,
        last_end=finished_at if running else 0.0,
        ports=_published((said.get("NetworkSettings") or {}).get("Ports") or {}),
        tty=bool(config.get("Tty")),
        memory_limit=int(said["HostConfig"].get("Memory") or 0),
        address=next((net["IPAddress"] for net in networks.values() if net.get("IPAddress")), ""),
    )


def _published(ports: Mapping[str, Sequence[Mapping[str, str]] | None]) -> tuple[PortMapping, ...]:
    found: dict[tuple[int, str, int], PortMapping] = {}
    for name, bindings in ports.items():
        number, _, protocol = name.partition("/")
        for binding in bindings or ():
            mapping = PortMapping(int(number), protocol or "tcp", int(binding["HostPort"] or 0), binding["HostIp"])
            # The same port on every IPv6 address says nothing new.
            found.setdefault((mapping.container_port, mapping.protocol, mapping.host_port), mapping)
    return tuple(found.values())


def listed(said: Mapping[str, Any]) -> Container:
    """From an element of `/containers/json`, which knows less: no pid, no start, no end."""
    status = str(said.get("Status", ""))
    code = re.match(r"Exited \((\d+)\)", status)
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", status)
    networks = (said.get("NetworkSettings") or {}).get("Networks") or {}
    ports: dict[tuple[int, str, int], PortMapping] = {}
    for port in said.get("Ports") or ():
        if port.get("PublicPort"):
            key = (port["PrivatePort"], port["Type"], port["PublicPort"])
            ports.setdefault(key, PortMapping(*key, port.get("IP", "")))
    return Container(
        id=said["Id"],
        name=next((name.removeprefix("/") for name in said.get("Names") or () if name.count("/") == 1), ""),
        image=said["Image"],
        state=said["State"],
        image_id=said["ImageID"],
        labels=said.get("Labels") or {},
        exit_code=int(code.group(1)) if code else None,
        health=health.group(1) if health else "",
        created_at=float(said["Created"]),
        ports=tuple(ports.values()),
        address=next((net["IPAddress"] for net in networks.values() if net.get("IPAddress")), ""),
    )


def happened(said: Mapping[str, Any]) -> ContainerEvent:
    """From an element of `/events`."""
    attributes: Mapping[str, str] = said["Actor"].get("Attributes") or {}
    nanoseconds = said.get("timeNano") or int(said["time"]) * 1_000_000_000
    code = attributes.get("exitCode")
    return ContainerEvent(
        id=said["Actor"]["ID"],
        action=str(said["Action"]).partition(":")[0],
        time=nanoseconds / 1e9,
        name=attributes.get("name", ""),
        labels={key: value for key, value in attributes.items() if key not in _ATTRIBUTES},
        exit_code=int(code) if code is not None else None,
    )
