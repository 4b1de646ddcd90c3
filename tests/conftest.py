"""What holds for every test: in CI a test that cannot run is a failure, because nobody would see that it did not."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} cannot run here, and CI must run everything: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngineProcess]:
    """One engine for all tests of a process; a test that stops it starts it again."""
    from support.docker_engine import open_engine

    engine = open_engine()
    yield engine
    engine.close()
