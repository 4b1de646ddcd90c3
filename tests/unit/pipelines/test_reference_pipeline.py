"""docs/reference/pipeline.md: each example loads, and each key is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.problems import key_names
from gamenode_pipelines.sandbox import METHODS, filter_names

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference" / "pipeline.md"
TEXT = REFERENCE.read_text("utf-8")
YAML = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", YAML, ids=[block.split()[1] for block in YAML])
def test_each_example_loads_without_a_warning(text: str) -> None:
    (loaded,) = load_pipelines(text, "pipeline.md")
    assert loaded.warnings == ()


def test_there_are_examples() -> None:
    assert len(YAML) >= 15
    assert len(PYTHON) == 1


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    exec(PYTHON[0], namespace)
    assert load_pipelines(capsys.readouterr().out, "printed")[0].name == "refresh-maps"


def test_every_key_has_an_example_and_a_mention() -> None:
    for pattern, names in key_names():
        for name in names:
            assert re.search(rf"\b{name}:", "".join(YAML)), (pattern, name)
            assert f"`{name}`" in TEXT or name in ("cpus", "memory", "disk", "pids"), (pattern, name)


def test_the_tables_of_kinds_are_current() -> None:
    table = runpy.run_path(str(ROOT / "docs" / "kinds_table.py"))
    assert table["page"](TEXT) == TEXT, "run: python docs/kinds_table.py"


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_its_table_and_an_example(name: str) -> None:
    assert TEXT.count(f"<!-- kind {name}: begin -->\n| field |") == 1
    assert f"### `{name}`" in TEXT
    assert any(f"uses: {name}\n" in block for block in YAML)


def test_every_filter_and_method_is_mentioned() -> None:
    for name in filter_names() - {"d"}:
        assert f"`{name}`" in TEXT
    for name in METHODS:
        assert f"`.{name}()`" in TEXT


def test_every_link_within_the_page_has_its_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]*)\)", TEXT):
        assert target in anchors
