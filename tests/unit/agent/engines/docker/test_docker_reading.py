"""What the engine says, as our records."""

from __future__ import annotations

from typing import Any

import pytest

from gamenode_agent.engines.containers import PortMapping
from gamenode_agent.engines.docker.reading import engine_info, happened, inspected, listed, seconds

SAID: dict[str, Any] = {
    "Id": "f00",
    "Name": "/oa-1",
    "Image": "sha256:1",
    "Created": "2026-01-01T00:00:00Z",
    "Config": {"Image": "gn/oa:1", "Labels": {"a": "b"}, "Tty": False},
    "HostConfig": {"Memory": 512},
    "State": {
        "Status": "running",
        "Pid": 42,
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": "2026-01-01T00:00:01.25Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "healthy"},
    },
    "NetworkSettings": {
        "Ports": {
            "27960/udp": [{"HostIp": "0.0.0.0", "HostPort": "28000"}, {"HostIp": "::", "HostPort": "28000"}],
            "80/tcp": None,
        },
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
}


def test_times_of_any_zone_and_none() -> None:
    assert seconds("2026-01-01T00:00:01.250000000Z") == 1767225601.25
    assert seconds("2026-01-01T01:00:01.25+01:00") == 1767225601.25
    assert seconds("0001-01-01T00:00:00Z") == seconds("") == 0


def test_a_running_container() -> None:
    found = inspected(SAID)
    assert (found.id, found.name, found.image, found.image_id) == ("f00", "oa-1", "gn/oa:1", "sha256:1")
    assert (found.state, found.pid, found.exit_code, found.health) == ("running", 42, None, "healthy")
    assert (found.created_at, found.started_at, found.finished_at) == (1767225600, 1767225601.25, 0)
    assert found.ports == (PortMapping(27960, "udp", 28000, "0.0.0.0"),)
    assert (found.address, found.memory_limit, found.labels) == ("172.17.0.2", 512, {"a": "b"})


def test_one_that_ended_and_was_started_before() -> None:
    state = SAID["State"] | {"Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True}
    found = inspected(SAID | {"State": state | {"FinishedAt": "2026-01-01T00:00:02Z"}})
    assert (found.exit_code, found.oom_killed, found.finished_at) == (137, True, 1767225602)
    again = inspected(SAID | {"State": SAID["State"] | {"FinishedAt": "2026-01-01T00:00:00Z"}})
    assert again.finished_at == 0


def test_a_listed_container() -> None:
    said = {
        "Id": "f00",
        "Names": ["/other/link", "/oa-1"],
        "Image": "gn/oa:1",
        "ImageID": "sha256:1",
        "State": "running",
        "Status": "Up 3 seconds (health: starting)",
        "Created": 1767225600,
        "Labels": {"a": "b"},
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 27960, "PublicPort": 28000, "Type": "udp"},
            {"IP": "::", "PrivatePort": 27960, "PublicPort": 28000, "Type": "udp"},
            {"PrivatePort": 80, "Type": "tcp"},
        ],
    }
    found = listed(said)
    assert (found.name, found.state, found.health, found.exit_code) == ("oa-1", "running", "starting", None)
    assert found.ports == (PortMapping(27960, "udp", 28000, "0.0.0.0"),)
    assert listed(said | {"State": "exited", "Status": "Exited (143) 2 hours ago"}).exit_code == 143
    assert listed(said | {"Status": "Up 2 hours (unhealthy)"}).health == "unhealthy"


def test_an_event_with_its_labels_apart_from_what_the_engine_adds() -> None:
    said = {
        "Action": "health_status: healthy",
        "Actor": {"ID": "f00", "Attributes": {"name": "oa-1", "image": "gn/oa:1", "a": "b"}},
        "timeNano": 1767225600250000000,
    }
    found = happened(said)
    assert (found.action, found.name, found.labels, found.exit_code) == ("health_status", "oa-1", {"a": "b"}, None)
    assert found.time == pytest.approx(1767225600.25)
    died = {"Action": "die", "Actor": {"ID": "f00", "Attributes": {"exitCode": "3"}}, "time": 1767225600}
    assert happened(died).exit_code == 3


def test_what_an_engine_says_of_itself() -> None:
    info = {
        "DockerRootDir": "/var/lib/docker",
        "Driver": "overlay2",
        "CgroupVersion": "2",
        "LiveRestoreEnabled": True,
        "SecurityOptions": ["name=seccomp", "name=rootless"],
        "Runtimes": {"runc": {}, "nvidia": {}},
        "MemoryLimit": True,
        "CpuCfsQuota": False,
        "PidsLimit": False,
        "SwapLimit": True,
    }
    found = engine_info(info, {"Version": "27.1", "ApiVersion": "1.46"}, [{"Name": "host"}, {"Name": "bridge"}])
    assert (found.name, found.version, found.api_version) == ("docker", "27.1", "1.46")
    assert (found.root_dir, found.storage_driver, found.cgroup_version) == ("/var/lib/docker", "overlay2", "2")
    assert (found.live_restore, found.rootless, found.runtimes) == (True, True, ("nvidia", "runc"))
    assert (found.missing_limits, found.networks) == (("cpus", "pids"), ("bridge", "host"))
    assert engine_info({}, {"Components": [{"Name": "Podman Engine"}]}, []).name == "podman"
