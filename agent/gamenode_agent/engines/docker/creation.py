"""A ContainerSpec as the engine's own words for making a container. Pure; every field has a test."""

from __future__ import annotations

import math
from typing import Any

from gamenode_agent.engines.containers import ContainerSpec, HealthCheck, Mount, PortMapping

_NANOSECONDS = 1_000_000_000


def creation(spec: ContainerSpec) -> dict[str, Any]:
    """The body of `POST /containers/create`; the name is not in it. What the spec leaves open is left out."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": dict(spec.labels),
        "ExposedPorts": {_port(mapping): {} for mapping in spec.ports},
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "HostConfig": _host(spec),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        # An empty list would mean "the image's own".
        body["Entrypoint"] = list(spec.entrypoint) or [""]
    if spec.healthcheck is not None:
        body["Healthcheck"] = _health(spec.healthcheck)
    if spec.stop_grace is not None:
        body["StopTimeout"] = math.ceil(spec.stop_grace)
    texts = {
        "Hostname": spec.hostname,
        "User": spec.user,
        "WorkingDir": spec.workdir,
        "StopSignal": spec.stop_signal,
    }
    return body | {key: text for key, text in texts.items() if text}


def _host(spec: ContainerSpec) -> dict[str, Any]:
    host: dict[str, Any] = {
        # The agent starts again what is to be started again.
        "RestartPolicy": {"Name": "no"},
        "PortBindings": _bindings(spec.ports),
        "Privileged": spec.privileged,
    }
    plain = [mount for mount in spec.mounts if ":" not in mount.source + mount.target]
    wanted: dict[str, Any] = {
        # As `docker run -v` has it, so that a folder that is missing is made. A colon needs the other form.
        "Binds": [f"{m.source}:{m.target}{':ro' if m.read_only else ''}" for m in plain],
        "Mounts": [_mount(mount) for mount in spec.mounts if mount not in plain],
        "Tmpfs": dict(spec.tmpfs),
        "ShmSize": spec.shm_size,
        "Devices": [_device(text) for text in spec.devices],
        "DeviceRequests": [_gpus(spec.gpus)] if spec.gpus else [],
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "SecurityOpt": list(spec.security_opt),
        "Sysctls": dict(spec.sysctls),
        "NetworkMode": spec.network,
        "NanoCpus": round(spec.cpus * _NANOSECONDS),
        "Memory": spec.memory,
        # The same number: no swap on top, or the limit would be twice what was asked for.
        "MemorySwap": spec.memory,
        "PidsLimit": spec.pids,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in spec.ulimits.items()],
        "Init": spec.init,
    }
    if spec.log_driver or spec.log_options:
        host["LogConfig"] = {"Type": spec.log_driver or "json-file", "Config": dict(spec.log_options)}
    return host | {key: value for key, value in wanted.items() if value}


def _port(mapping: PortMapping) -> str:
    return f"{mapping.container_port}/{mapping.protocol}"


def _bindings(ports: tuple[PortMapping, ...]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for mapping in ports:
        host_port = str(mapping.host_port) if mapping.host_port else ""
        found.setdefault(_port(mapping), []).append({"HostIp": mapping.host_ip, "HostPort": host_port})
    return found


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "volume" if mount.volume else "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def _device(text: str) -> dict[str, str]:
    """`/dev/x[:/dev/y[:rwm]]`; the middle may be left out: `/dev/x:r`."""
    source, *rest = text.split(":")
    rights = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    return {
        "PathOnHost": source,
        "PathInContainer": rest[0] if rest else source,
        "CgroupPermissions": rights,
    }


def _gpus(text: str) -> dict[str, Any]:
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]]}
    if text == "all":
        return request | {"Count": -1}
    if text.isdigit():
        return request | {"Count": int(text)}
    return request | {"DeviceIDs": [part.strip() for part in text.split(",") if part.strip()]}


def _health(check: HealthCheck) -> dict[str, Any]:
    return {
        "Test": list(check.test),
        "Interval": round(check.interval * _NANOSECONDS),
        "Timeout": round(check.timeout * _NANOSECONDS),
        "StartPeriod": round(check.start_period * _NANOSECONDS),
        "Retries": check.retries,
    }
