"""A cluster whose node has a Docker, one for all the tests of a file: each puts right again what it has broken; and a
machine for consoles, one a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gamenode_console.gateway import Gateway
from support.cluster import Cluster, running_cluster
from support.console_host import Host, open_host

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess
    from support.seen_containers import SeenContainers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def docker_cluster(
    tmp_path_factory: pytest.TempPathFactory, docker_engine: DockerEngineProcess
) -> AsyncIterator[Cluster]:
    env = {"GAMENODE_DOCKER_HOST": docker_engine.address, "GAMENODE_ENGINE_RETRY": "200ms"}
    async with running_cluster(tmp_path_factory.mktemp("containers"), agents=["eu-1"], env=env) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(docker_cluster: Cluster) -> AsyncIterator[Gateway]:
    async with docker_cluster.gateway() as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def seen(docker_engine: DockerEngineProcess) -> AsyncIterator[SeenContainers]:
    from support.seen_containers import SeenContainers

    yield SeenContainers(docker_engine)
    await asyncio.to_thread(docker_engine.clean)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with open_host(tmp_path) as found:
        yield found
