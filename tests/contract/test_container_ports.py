"""What every container engine keeps of published ports."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from gamenode_agent.engines.containers import PortMapping
from gamenode_pipelines.errors import Code, GameNodeError
from support.docker_engine import DockerEngineProcess
from support.engine_bench import Bench, docker_bench
from support.waiting import until

ECHO = """
import socket
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
door.bind(("0.0.0.0", 27960))
print("up", flush=True)
while True:
    door.sendto(*door.recvfrom(1500))
"""


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("0.0.0.0", 0))
        return int(door.getsockname()[1])


def needs_bridge(engine: DockerEngineProcess) -> None:
    if not engine.bridge:
        pytest.skip("no engine with a bridge: run the tests as root where `ip link add` works")


async def test_a_port_is_chosen_or_taken_as_told_and_shown(bench: Bench, docker_engine: DockerEngineProcess) -> None:
    needs_bridge(docker_engine)
    told = free_port()
    ports = (PortMapping(27960, "udp", told), PortMapping(80, "tcp"))
    container = await bench.started("sleep=600", network="", ports=ports)
    shown = await bench.engine.inspect(container)
    assert shown is not None
    found = {(port.container_port, port.protocol): port.host_port for port in shown.ports}
    assert found[27960, "udp"] == told
    assert found[80, "tcp"] > 0
    assert shown.address
    (listed,) = [each for each in await bench.engine.containers() if each.id == container]
    assert {port.host_port for port in listed.ports} == set(found.values())


async def test_a_port_that_another_container_has_is_taken(bench: Bench, docker_engine: DockerEngineProcess) -> None:
    needs_bridge(docker_engine)
    port = free_port()
    await bench.started("sleep=600", network="", ports=(PortMapping(80, "tcp", port),))
    second = await bench.engine.create(bench.spec("sleep=600", network="", ports=(PortMapping(80, "tcp", port),)))
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.start(second)
    assert caught.value.code is Code.INSUFFICIENT_RESOURCES
    assert str(port) in caught.value.message
    shown = await bench.engine.inspect(second)
    assert shown is not None
    assert (shown.state, shown.started_at) == ("created", 0)


async def test_docker_says_so_too_where_a_program_of_the_host_has_it(docker_engine: DockerEngineProcess) -> None:
    needs_bridge(docker_engine)
    async with docker_bench(docker_engine) as bench:
        with socket.socket() as door:
            door.bind(("0.0.0.0", 0))
            door.listen()
            port = door.getsockname()[1]
            with pytest.raises(GameNodeError) as caught:
                await bench.started("sleep=600", network="", ports=(PortMapping(80, "tcp", port),))
    assert caught.value.code is Code.INSUFFICIENT_RESOURCES
    assert f"{port} of this node is taken" in caught.value.message


async def test_docker_brings_what_comes_on_a_published_port(docker_engine: DockerEngineProcess) -> None:
    needs_bridge(docker_engine)
    async with docker_bench(docker_engine) as bench:
        ports = (PortMapping(80, "tcp"), PortMapping(27960, "udp"))
        container = await bench.started("serve=80", "sleep=600", network="", ports=ports)
        shown = await bench.engine.inspect(container)
        assert shown is not None
        tcp, udp = (next(p.host_port for p in shown.ports if p.protocol == protocol) for protocol in ("tcp", "udp"))

        def answered() -> bool:
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", tcp), timeout=5) as line:
                line.sendall(b"hello")
                return line.recv(100) == b"hello"  # empty, or cut off, while nobody listens behind the proxy
            return False

        await until(answered, what="an answer over TCP")

        # The image has nothing that speaks UDP: a program of the host does it, in the network of the container.
        inside = ["nsenter", "--net", "--target", str(shown.pid), sys.executable, "-c", ECHO]
        with subprocess.Popen(inside, stdout=subprocess.PIPE) as echo:
            assert echo.stdout is not None
            assert echo.stdout.readline() == b"up\n"
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                    asker.settimeout(10)
                    asker.sendto(b"getinfo", ("127.0.0.1", udp))
                    assert asker.recv(100) == b"getinfo"
            finally:
                echo.kill()
