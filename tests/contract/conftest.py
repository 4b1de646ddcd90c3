"""What the contract tests share: each test of the engine's seam runs with the fake and with Docker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.engine_bench import Bench, docker_bench, fake_bench


@pytest_asyncio.fixture(params=["fake", "docker"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """An engine under test."""
    opened = fake_bench() if request.param == "fake" else docker_bench(request.getfixturevalue("docker_engine"))
    async with opened as found:
        yield found
