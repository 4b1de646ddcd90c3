"""From the checked values of a step's `with` to the container to make, and what is refused by name on the way.

Looks at the host for what an engine would only complain of late or in its own words; asks no engine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from gamenode_agent.containers.naming import StopWish, stop_label
from gamenode_agent.containers.ports import Taken, choose
from gamenode_agent.engines.containers import (
    RESTART,
    SPEC,
    STOP,
    ContainerSpec,
    EngineInfo,
    HealthCheck,
    Mount,
    PortMapping,
)
from gamenode_pipelines.errors import Code, GameNodeError

#: What says how a container is dealt with and not what it is: another value makes no other container.
_NOT_HASHED = frozenset({"replace", "pull", "name"})


def stop_of(values: Mapping[str, Any]) -> StopWish:
    """How a container of these values is to be stopped."""
    stop = values.get("stop") or {}
    return StopWish(
        command=tuple(stop.get("command") or ()),
        via=stop.get("via") or "exec",
        signal=stop.get("signal") or "",
        grace=stop.get("grace"),
    )


def spec_hash(values: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Names what a container is made from. `env` is its environment without what differs by attempt.

    Only what is said counts: an agent of a later version, which knows more fields, finds the same name.
    """
    from gamenode_pipelines.kinds import KINDS  # as `StepContext.values`

    said = KINDS["container.run"].record.said(values)
    content = {name: value for name, value in said.items() if name not in _NOT_HASHED}
    content["env"] = dict(env)
    text = json.dumps(_plain(content), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def build(
    values: Mapping[str, Any],
    *,
    name: str,
    env: Mapping[str, str],
    labels: Mapping[str, str],
    digest: str,
    ports: tuple[PortMapping, ...],
) -> ContainerSpec:
    """The container to make. `values` as `kinds.rendered` returns them, `ports` as `host_ports` chose them."""
    stop = stop_of(values)
    resources = values.get("resources") or {}
    logging = values.get("logging") or {}
    restart = values.get("restart") or "no"
    own = {**labels, SPEC: digest, STOP: stop_label(stop)}
    if restart != "no":
        own[RESTART] = restart
    return ContainerSpec(
        name=name,
        image=values["image"],
        command=values.get("command"),
        entrypoint=values.get("entrypoint"),
        env=env,
        labels={**(values.get("labels") or {}), **own},
        ports=() if on_host_network(values) else ports,
        mounts=tuple(
            Mount(each.source, each.target, each.read_only, volume=not each.source.startswith("/"))
            for each in values.get("volumes") or ()
        ),
        tmpfs=values.get("tmpfs") or {},
        shm_size=values.get("shm_size") or 0,
        devices=tuple(values.get("devices") or ()),
        gpus=values.get("gpus") or "",
        cap_add=tuple(values.get("cap_add") or ()),
        cap_drop=tuple(values.get("cap_drop") or ()),
        security_opt=tuple(values.get("security_opt") or ()),
        sysctls=values.get("sysctls") or {},
        privileged=bool(values.get("privileged")),
        network=values.get("network") or "",
        hostname=values.get("hostname") or "",
        user=values.get("user") or "",
        workdir=values.get("workdir") or "",
        init=bool(values.get("init")),
        tty=bool(values.get("tty")),
        # A stop command that is written to its input needs one.
        stdin_open=bool(values.get("stdin_open")) or (stop.via == "stdin" and bool(stop.command)),
        cpus=resources.get("cpus") or 0.0,
        memory=resources.get("memory") or 0,
        pids=resources.get("pids") or 0,
        ulimits=resources.get("ulimits") or {},
        healthcheck=_health(values.get("healthcheck")),
        stop_signal=stop.signal,
        stop_grace=stop.grace,
        log_driver=logging.get("driver") or "",
        log_options=logging.get("options") or {},
    )


def on_host_network(values: Mapping[str, Any]) -> bool:
    """Whether the container has the host's own network, where nothing is published: it listens where it listens."""
    return values.get("network") == "host"


def host_ports(values: Mapping[str, Any], port_range: tuple[int, int], taken: Taken) -> tuple[PortMapping, ...]:
    """The published ports, each with its host port; those chosen are `taken` from now on."""
    found: list[PortMapping] = []
    for number, port in enumerate(values.get("ports") or ()):
        host_port = port.host_port
        if on_host_network(values):
            if host_port is None:
                host_port = port.container_port
            elif host_port != port.container_port:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT,
                    f"with.ports[{number}]: on the network `host` a port cannot be another one outside: say"
                    f" {port.container_port}:{port.container_port}/{port.protocol}, or leave it out",
                )
        elif host_port is None:
            host_port = choose(port_range, port.protocol, port.host_ip, taken)
        found.append(PortMapping(port.container_port, port.protocol, host_port, port.host_ip))
    return tuple(found)


def by_key(ports: Sequence[PortMapping]) -> dict[str, int]:
    """Host ports by `27960/udp`; of several for one the first."""
    found: dict[str, int] = {}
    for port in ports:
        found.setdefault(f"{port.container_port}/{port.protocol}", port.host_port)
    return found


def ports_label(ports: Sequence[PortMapping]) -> str:
    """The host ports a container is given, for its label."""
    return json.dumps(by_key(ports))


def check_here(values: Mapping[str, Any], info: EngineInfo | None, *, local: bool) -> None:
    """Refuses by name what this node or its engine cannot do. `local`: the engine is on this host."""
    resources = values.get("resources") or {}
    for limit in ("memory", "cpus", "pids"):
        if info is not None and resources.get(limit) and limit in info.missing_limits:
            raise GameNodeError(
                Code.INSUFFICIENT_RESOURCES,
                f"with.resources.{limit}: the container engine of this node cannot limit {limit}",
                details={"capability": f"docker.limits.{limit}"},
            )
    if info is not None and values.get("gpus") and not any(each.startswith("nvidia") for each in info.runtimes):
        raise GameNodeError(
            Code.INSUFFICIENT_RESOURCES,
            "with.gpus: the container engine of this node has no runtime for GPUs",
            details={"capability": "docker.gpus"},
        )
    if local:
        for number, volume in enumerate(values.get("volumes") or ()):
            if volume.source.startswith("/") and _is_missing(volume.source):
                raise GameNodeError(
                    Code.INVALID_ARGUMENT,
                    f"with.volumes[{number}]: {volume.source} is not there on this node",
                    details={"path": volume.source},
                )


def _is_missing(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except PermissionError:
        return False  # the engine sees more than we do
    return False


def _health(check: Any) -> HealthCheck | None:
    if check is None:
        return None
    wanted = {"interval": check.interval, "timeout": check.timeout, "start_period": check.start_period}
    given = {name: value for name, value in wanted.items() if value is not None}
    if check.retries is not None:
        given["retries"] = check.retries
    return HealthCheck(tuple(check.test), **given)


def _plain(value: Any) -> Any:
    """A value as JSON has it; of one with named parts those that are not as they would be anyway."""
    match value:
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case tuple() if defaults := getattr(value, "_field_defaults", None):
            parts = value._asdict()  # type: ignore[attr-defined]
            return {
                name: _plain(item) for name, item in parts.items() if name not in defaults or item != defaults[name]
            }
        case tuple() | list():
            return [_plain(item) for item in value]
        case _:
            return value
