"""The documentation says what is so: what it names exists, and what is generated is current."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from functools import cache
from pathlib import Path

import click
import pytest

from gamenode_agent.commands import root as agent
from gamenode_console.cli.root import root as client
from gamenode_server.commands import server

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "docs/mission.md",
        "docs/promises.md",
        "docs/operating.md",
        "docs/monitoring.md",
        "docs/notifiers.md",
        "docs/games.md",
    )
]
PROGRAMS: dict[str, click.Command] = {"gamenode": client, "gamenode-agent": agent, "gamenode-server": server}
TOP = ("agent/", "benchmarks/", "console/", "docs/", "pipelines/", "proto/", "requirements/", "server/", "tests/")

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
PROMPT = re.compile(r"^(?:\w+)?\$ +", re.MULTILINE)
FAILPOINT = re.compile(r'failpoint\("([^"]+)"\)')


def _spans(page: Path) -> list[str]:
    return SPAN.findall(FENCE.sub("", page.read_text()))


def _commands(page: Path) -> list[str]:
    """Everything that looks like one of our commands, in code spans and on lines with a prompt."""
    found = [span for span in _spans(page) if span.split()[0] in PROGRAMS]
    for language, body in FENCE.findall(page.read_text()):
        if language == "console":
            found += [line for line in PROMPT.sub("", body).splitlines() if line and line.split()[0] in PROGRAMS]
    return found


@cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _problem_of_path(span: str) -> str:
    path, _, test = span.partition("::")
    if not (ROOT / path).exists():
        return f"there is no {path}"
    if test and test not in _tests_in(ROOT / path):
        return f"{path} has no test {test}"
    return ""


def _problem_of_command(line: str) -> str:
    """Walks the words down the command tree; the options have to be known where they stand."""
    words = shlex.split(line, comments=True)
    command: click.Command = PROGRAMS[words[0]]
    known = {"-h", "--help", "--version"}
    for word in words[1:]:
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("-") and len(word) > 1:
            if word.partition("=")[0] not in known:
                return f"{line!r}: no option {word}"
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is None and not (command is server and not word.startswith("-")):
                return f"{line!r}: {command.name} has no command {word!r}"
            command = inner or command
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_test_that_is_named_exists(page: Path) -> None:
    named = [span for span in _spans(page) if span.startswith(TOP) and " " not in span]
    assert [problem for span in named if (problem := _problem_of_path(span))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_is_one(page: Path) -> None:
    assert [problem for line in _commands(page) if (problem := _problem_of_command(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target, heading in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        if not file.exists():
            broken.append(target)
        elif heading and heading not in _headings(file):
            broken.append(f"{target}#{heading}")
    assert broken == []


def _headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_what_is_looked_at_is_there() -> None:
    """So that a change of form does not make the tests above look at nothing."""
    assert sum("::" in span for span in _spans(ROOT / "docs/promises.md")) > 60
    assert len(_commands(ROOT / "docs/mission.md")) > 25
    assert len(_commands(ROOT / "README.md")) > 10
    assert _problem_of_path("tests/unit/test_docs_true.py::test_nothing") != ""
    assert _problem_of_path("server/nowhere.py") != ""
    assert _problem_of_command("gamenode node vanish NODE") != ""
    assert _problem_of_command("gamenode-agent run --never") != ""


def test_every_promise_has_a_line() -> None:
    rows = re.findall(r"^\| (\d+) \| .+$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 38))
    for line in re.findall(r"^\| \d+ \| .+$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE):
        assert "::" in line or "not yet" in line.lower(), line


def test_every_point_of_the_mission_has_a_line() -> None:
    text = (ROOT / "docs/mission.md").read_text()
    points = ("1.1", "1.2", "1.3", "1.4", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2")
    for point in (*points, "4.1", "4.2", "4.3", "5.1", "5.2", "6.1", "6.2"):
        assert re.search(rf"^\| {re.escape(point)} ", text, re.MULTILINE), point


def test_the_tables_of_settings_are_current() -> None:
    table = runpy.run_path(str(ROOT / "docs/settings_table.py"))
    text = (ROOT / "docs/operating.md").read_text()
    assert table["page"](text) == text, "run: python docs/settings_table.py"


def test_every_failpoint_is_listed() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    for program in ("server", "agent"):
        names = {name for path in (ROOT / program).rglob("*.py") for name in FAILPOINT.findall(path.read_text())}
        (row,) = re.findall(rf"^\| `gamenode-{program}` \| (`.*) \|$", text, re.MULTILINE)
        assert row == ", ".join(f"`{name}`" for name in sorted(names))


def test_the_examples_of_the_readme_are_a_good_pipeline() -> None:
    from gamenode_pipelines.load import load_pipelines

    fences = FENCE.findall((ROOT / "README.md").read_text())
    texts = [body for language, body in fences if language in ("yaml", "yml")]
    whole, keys = texts  # the second one has keys of a pipeline that is over many nodes
    for text in (whole, f"{keys}pipeline: restart-report\nsteps: [{{id: a, run: 'true'}}]\n"):
        (loaded,) = load_pipelines(text, "restart-report.yaml")
        assert (loaded.name, loaded.warnings) == ("restart-report", ())


def test_pictures_refer_to_nothing_outside() -> None:
    pictures = list((ROOT / "docs/pictures").glob("*.svg"))
    assert len(pictures) == 7
    for picture in pictures:
        assert "url(" not in picture.read_text().replace("url(#", ""), picture
