"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipelines", "proto", "server", "agent", "console")
SOURCES = [p for folder in PACKAGES for p in (ROOT / folder).rglob("*.py") if "_pb2" not in p.name]

#: No file may grow past this: it then holds two things.
MOST_LINES = 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{path} has {lines} lines: split it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_grab_bags_and_every_module_says_what_it_owns(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("folder", PACKAGES)
def test_only_the_package_sits_in_a_component(folder: str) -> None:
    loose = [p.name for p in (ROOT / folder).iterdir() if p.suffix == ".py"]
    assert not loose, f"{folder}/ may hold its package and nothing that Python could import"


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import gamenode_pipelines", {"pydantic", "yaml", "jinja2"}),
        ("import gamenode_pipelines.tasks", {"pydantic", "yaml", "grpc", "google.protobuf"}),
        (
            "import gamenode_agent.app",
            {"pydantic", "sqlalchemy", "rich", "textual", "docker", "alembic", "opengsq", "aiohttp"},
        ),
        ("import gamenode_server.app", {"psutil", "docker", "textual", "rich", "alembic"}),
        ("import gamenode_console.cli", {"grpc", "rich", "pydantic", "sqlalchemy", "textual"}),
        # Before its first frame the console imports neither connections nor a server.
        (
            "import gamenode_console.program.command, gamenode_console.program.running, "
            "gamenode_console.program.showing, gamenode_console.app",
            {
                "grpc",
                "pydantic",
                "sqlalchemy",
                "yaml",
                "docker",
                "gamenode_server",
                "gamenode_agent",
                "importlib.metadata",
            },
        ),
        # A standby waits for weeks, on hosts where memory is for games.
        ("import gamenode_server.standby", {"asyncio", "dataclasses", "gamenode_proto", "logging", "re", "typing"}),
    ],
)
def test_imports_stay_late(statement: str, forbidden: set[str]) -> None:
    assert not _modules_after(statement) & forbidden
