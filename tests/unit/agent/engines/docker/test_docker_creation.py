"""A container as Docker wants it, field by field."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gamenode_agent.engines.containers import ContainerSpec, HealthCheck, Mount, PortMapping
from gamenode_agent.engines.docker.creation import creation

PLAIN = ContainerSpec(name="oa", image="gn/openarena:1")


def body(**fields: Any) -> dict[str, Any]:
    return creation(dataclasses.replace(PLAIN, **fields))


def test_what_is_left_open_is_left_to_the_image_and_the_engine() -> None:
    assert creation(PLAIN) == {
        "Image": "gn/openarena:1",
        "Env": [],
        "Labels": {},
        "ExposedPorts": {},
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": {"RestartPolicy": {"Name": "no"}, "PortBindings": {}, "Privileged": False},
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"command": ("play", "a b")}, {"Cmd": ["play", "a b"]}),
        ({"command": ()}, {"Cmd": []}),
        ({"entrypoint": ("/bin/sh", "-c")}, {"Entrypoint": ["/bin/sh", "-c"]}),
        ({"entrypoint": ()}, {"Entrypoint": [""]}),
        ({"env": {"A": "1", "B": "x=y"}}, {"Env": ["A=1", "B=x=y"]}),
        ({"labels": {"a": "b"}}, {"Labels": {"a": "b"}}),
        ({"hostname": "arena"}, {"Hostname": "arena"}),
        ({"user": "1000:1000"}, {"User": "1000:1000"}),
        ({"workdir": "/srv"}, {"WorkingDir": "/srv"}),
        ({"tty": True, "stdin_open": True}, {"Tty": True, "OpenStdin": True}),
        ({"stop_signal": "SIGINT", "stop_grace": 9.2}, {"StopSignal": "SIGINT", "StopTimeout": 10}),
        ({"stop_grace": 0.0}, {"StopTimeout": 0}),
        (
            {"healthcheck": HealthCheck(("CMD", "ok"), interval=1.5, timeout=0.25, start_period=10, retries=2)},
            {
                "Healthcheck": {
                    "Test": ["CMD", "ok"],
                    "Interval": 1_500_000_000,
                    "Timeout": 250_000_000,
                    "StartPeriod": 10_000_000_000,
                    "Retries": 2,
                }
            },
        ),
    ],
)
def test_fields_of_the_container(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert creation(PLAIN) | expected == body(**fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tmpfs": {"/run": "size=64m"}}, {"Tmpfs": {"/run": "size=64m"}}),
        ({"shm_size": 1 << 26}, {"ShmSize": 1 << 26}),
        ({"cap_add": ("NET_ADMIN",), "cap_drop": ("ALL",)}, {"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"]}),
        ({"security_opt": ("no-new-privileges",)}, {"SecurityOpt": ["no-new-privileges"]}),
        ({"sysctls": {"net.core.somaxconn": "1024"}}, {"Sysctls": {"net.core.somaxconn": "1024"}}),
        ({"privileged": True}, {"Privileged": True}),
        ({"network": "host"}, {"NetworkMode": "host"}),
        ({"init": True}, {"Init": True}),
        ({"cpus": 1.5}, {"NanoCpus": 1_500_000_000}),
        ({"memory": 1 << 29}, {"Memory": 1 << 29, "MemorySwap": 1 << 29}),
        ({"pids": 200}, {"PidsLimit": 200}),
        ({"ulimits": {"nofile": (1024, 4096)}}, {"Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 4096}]}),
        (
            {"log_driver": "local", "log_options": {"max-size": "10m"}},
            {"LogConfig": {"Type": "local", "Config": {"max-size": "10m"}}},
        ),
        ({"log_options": {"max-file": "2"}}, {"LogConfig": {"Type": "json-file", "Config": {"max-file": "2"}}}),
    ],
)
def test_fields_of_its_place_on_the_host(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(**fields)["HostConfig"] == creation(PLAIN)["HostConfig"] | expected


def test_ports_are_exposed_and_bound() -> None:
    made = body(
        ports=(PortMapping(27960, "udp", 28000, "10.0.0.1"), PortMapping(80, "tcp"), PortMapping(80, "tcp", 8080))
    )
    assert made["ExposedPorts"] == {"27960/udp": {}, "80/tcp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "27960/udp": [{"HostIp": "10.0.0.1", "HostPort": "28000"}],
        "80/tcp": [{"HostIp": "", "HostPort": ""}, {"HostIp": "", "HostPort": "8080"}],
    }


def test_folders_are_bound_as_on_the_command_line_and_with_a_colon_by_name() -> None:
    made = body(
        mounts=(Mount("/srv/a", "/a", read_only=True), Mount("maps", "/maps", volume=True), Mount("/x:y", "/z"))
    )
    assert made["HostConfig"]["Binds"] == ["/srv/a:/a:ro", "maps:/maps"]
    assert made["HostConfig"]["Mounts"] == [{"Type": "bind", "Source": "/x:y", "Target": "/z", "ReadOnly": False}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/snd", ("/dev/snd", "/dev/snd", "rwm")),
        ("/dev/snd:/dev/audio", ("/dev/snd", "/dev/audio", "rwm")),
        ("/dev/snd:/dev/audio:r", ("/dev/snd", "/dev/audio", "r")),
        ("/dev/snd:rw", ("/dev/snd", "/dev/snd", "rw")),
    ],
)
def test_devices(text: str, expected: tuple[str, str, str]) -> None:
    (device,) = body(devices=(text,))["HostConfig"]["Devices"]
    assert (device["PathOnHost"], device["PathInContainer"], device["CgroupPermissions"]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("all", {"Count": -1}), ("2", {"Count": 2}), ("GPU-1, GPU-2", {"DeviceIDs": ["GPU-1", "GPU-2"]})],
)
def test_gpus(text: str, expected: dict[str, Any]) -> None:
    (request,) = body(gpus=text)["HostConfig"]["DeviceRequests"]
    assert request == {"Driver": "", "Capabilities": [["gpu"]]} | expected


def test_every_field_of_the_seam_reaches_the_engine() -> None:
    """A field that is added to the seam and forgotten here fails."""
    given: dict[str, Any] = {
        "command": ("x",), "entrypoint": ("x",), "env": {"x": "x"}, "labels": {"x": "x"}, "ports": (PortMapping(1),),
        "mounts": (Mount("x", "x"),), "tmpfs": {"x": "x"}, "shm_size": 1, "devices": ("x",), "gpus": "1",
        "cap_add": ("x",), "cap_drop": ("x",), "security_opt": ("x",), "sysctls": {"x": "x"}, "privileged": True,
        "network": "x", "hostname": "x", "user": "x", "workdir": "x", "init": True, "tty": True, "stdin_open": True,
        "cpus": 1.0, "memory": 1, "pids": 1, "ulimits": {"x": (1, 1)}, "healthcheck": HealthCheck(("x",)),
        "stop_signal": "x", "stop_grace": 1.0, "log_driver": "x", "log_options": {"x": "x"}, "image": "other",
    }  # fmt: skip
    for each in dataclasses.fields(ContainerSpec):
        if each.name != "name":  # it travels beside the body
            assert body(**{each.name: given[each.name]}) != creation(PLAIN), each.name
