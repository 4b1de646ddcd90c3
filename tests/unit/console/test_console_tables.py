"""Tables, filters and words for people."""

from __future__ import annotations

import pytest

from gamenode_console import columns, filters, tables, texts
from gamenode_console.documents import nodes, runs
from gamenode_pipelines.errors import GameNodeError
from support.control_messages import T0, a_node, a_run, a_run_document

NODE = nodes.node(a_node(region="eu", role="game"))


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("game-1", True),
        ("GAME-1", False),
        ("debian", True),
        ("Debian", True),
        ("game-1 online", True),
        ("game-1 offline", False),
        ("offline|online", True),
        ("!offline", True),
        ("!online", False),
        ("~^game-\\d$", True),
        ("~^db", False),
        ("state=online", True),
        ("state!=online", False),
        ("state=o*", True),
        ("region=eu", True),
        ("region=us|region=eu", True),
        ("metrics.cpu_percent>12", True),
        ("metrics.cpu_percent>12.5", False),
        ("metrics.cpu_percent>=12.5", True),
        ("tasks_running<2", True),
        ("name>5", False),
        ("nosuch>5", False),
        ("nosuch=", True),
    ],
)
def test_the_filter_grammar(text: str, matches: bool) -> None:
    assert filters.parse(text)(NODE) is matches


@pytest.mark.parametrize("text", ["~[", "cpu>much", "|"])
def test_a_bad_filter_is_said_so(text: str) -> None:
    with pytest.raises(GameNodeError, match="filter"):
        filters.parse(text)


def lines(*names: str, **options: object) -> list[str]:
    chosen = tables.choose(columns.NODES, wide=bool(options.pop("wide", False)), only=names)
    return tables.lines([NODE], chosen, now=T0 + 65, **options)  # type: ignore[arg-type]


def test_columns_are_aligned_and_have_headings() -> None:
    assert lines("name", "state", "cpu", "seen") == ["NAME    STATE   CPU   SEEN", "game-1  online  12%  1m05s"]
    assert lines("name", headers=False) == ["game-1"]
    assert lines("labels.region", "metrics.load1") == ["LABELS.REGION  METRICS.LOAD1", "eu             0.5"]


def test_an_unknown_column_names_the_known_ones() -> None:
    with pytest.raises(GameNodeError, match=r"no column 'nam'.*name, state"):
        tables.choose(columns.NODES, wide=False, only=["nam"])


def test_a_narrow_terminal_cuts_the_widest_cells() -> None:
    (head, row) = lines(width=40)
    assert len(head) <= 40
    assert len(row) <= 40
    assert row.startswith("game-1")


def test_cells_are_inert() -> None:
    evil = {**NODE, "name": "a\x1b[31mb\nc\u202e"}
    (line,) = tables.lines([evil], tables.choose(columns.NODES, wide=False, only=["name"]), now=T0, headers=False)
    assert line == "a␛[31mb ⏎ c<202E>"


def test_wide_characters_count_double() -> None:
    rows = [{**NODE, "name": "日本"}, {**NODE, "name": "abcd"}]
    chosen = tables.choose(columns.NODES, wide=False, only=["name", "state"])
    first, second = tables.lines(rows, chosen, now=T0, headers=False)
    assert first == "日本  online"
    assert second == "abcd  online"


def test_states_are_painted_after_padding() -> None:
    chosen = tables.choose(columns.NODES, wide=False, only=["state"])
    out = tables.lines([NODE], chosen, now=T0, paint=lambda text, colour: f"<{colour}>{text}")
    assert out == ["<bold>STATE", "<green>online"]


def test_sorting_by_a_column_both_ways_with_nothing_last() -> None:
    def named(name: str, cpu: float | None) -> dict[str, object]:
        return {**NODE, "name": name, "metrics": None if cpu is None else {"cpu_percent": cpu}}

    rows = [named("a", 50.0), named("b", None), named("c", 7.0)]
    assert [row["name"] for row in tables.sort(rows, columns.NODES, "cpu", now=T0)] == ["c", "a", "b"]
    assert [row["name"] for row in tables.sort(rows, columns.NODES, "-cpu", now=T0)] == ["a", "c", "b"]


def test_every_table_shows_every_cell() -> None:
    run = runs.run_document(a_run_document())
    for table, document in (
        (columns.NODES, NODE),
        (columns.RUNS, runs.run(a_run())),
        (columns.STEPS, columns.run_rows(run)[0]),
    ):
        head, row = tables.lines([document], tables.choose(table, wide=True), now=T0 + 9)
        assert all(column.title in head for column in table.columns)
        assert row


def test_a_task_with_an_error_has_a_row_of_its_own() -> None:
    run = runs.run_document(a_run_document())
    run["tasks"][0]["error"] = {"code": "lost", "message": "gone", "details": {}}
    assert [row["step"] for row in columns.run_rows(run)] == ["(task)", "one"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0ms"), (0.25, "250ms"), (3.25, "3.2s"), (59.9, "59s"), (65, "1m05s"), (7260, "2h01m"), (90000, "1d01h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert texts.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (512, "512B"), (1536, "1.5K"), (8 << 30, "8G"), (1 << 60, "1024P")]
)
def test_sizes(count: int, text: str) -> None:
    assert texts.size(count) == text


def test_every_control_that_a_terminal_obeys_is_shown_instead() -> None:
    active = (
        "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x202A, 0x2066, 0x200F]))
        .replace("\t", "")
        .replace("\n", "")
    )
    assert not set(texts.inert(active)) & set(active)
    assert texts.inert("a\tb\nc ü 日") == "a\tb\nc ü 日"
