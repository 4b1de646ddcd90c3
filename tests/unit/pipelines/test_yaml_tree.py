"""The YAML reader: the dialect, the places, the limits."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import yaml_tree as tree


def read(text: str) -> tuple[list[object], list[tuple[int, int, str]]]:
    """The documents as plain values, and what was reported."""
    problems: list[tuple[int, int, str]] = []

    def report(place: tree.Place, message: str) -> None:
        problems.append((place.line, place.column, message))

    documents = tree.read(text, report) if tree.check_text(text, report) else ()
    return [plain(document.root) for document in documents], problems


def plain(node: tree.Node) -> object:
    match node:
        case tree.Scalar():
            return node.value
        case tree.Sequence():
            return [plain(item) for item in node.items]
        case tree.Mapping():
            return {key: plain(value) for key, (_, value) in node.entries.items()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("y", "y"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("-5", -5),
        ("+5", 5),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("true", True),
        ("True", True),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("", None),
        ('"5"', "5"),
        ("'true'", "true"),
        ("=", "="),
        ("<<", "<<"),
        ("0.8.8", "0.8.8"),
        ("12e03", 12000.0),
        ("nan", "nan"),
    ],
)
def test_scalars_are_of_the_core_schema(text: str, value: object) -> None:
    assert read(f"a: {text}\n") == ([{"a": value}], [])


def test_text_keeps_its_characters() -> None:
    node = tree.read("a: 0.10\n", lambda place, message: None)[0].root
    assert isinstance(node, tree.Mapping)
    scalar = node.get("a")
    assert isinstance(scalar, tree.Scalar)
    assert (scalar.text, scalar.value) == ("0.10", 0.1)


def test_places_count_from_one_in_characters() -> None:
    text = "é: {ключ: [1, 'ü', x]}\nb:\n  - c: d\n"
    root = tree.read(text, lambda place, message: None)[0].root
    assert isinstance(root, tree.Mapping)
    first = root.get("é")
    assert isinstance(first, tree.Mapping)
    assert first.key_place("ключ") == tree.Place(1, 5, 4)
    items = first.get("ключ")
    assert isinstance(items, tree.Sequence)
    assert [(item.place.line, item.place.column) for item in items.items] == [(1, 12), (1, 15), (1, 20)]
    inner = root.get("b")
    assert isinstance(inner, tree.Sequence)
    assert inner.items[0].place.line == 3


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_markers_are_found_in_blocks_and_quotes(newline: str) -> None:
    lines = ["a: |", "  one", "  two M three M", 'b: "xM"', "c: yM", "d: >-", "  x", "  M"]
    root = tree.read(newline.join(lines) + newline, lambda place, message: None)[0].root
    assert isinstance(root, tree.Mapping)
    places = {}
    for key, (_, value) in root.entries.items():
        assert isinstance(value, tree.Scalar)
        places[key] = [(place.line, place.column) for place in value.places("M", value.text.count("M"))]
    assert places == {"a": [(3, 7), (3, 15)], "b": [(4, 6)], "c": [(5, 5)], "d": [(8, 3)]}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: &x 1\n", 1, 4, "anchor (&) 'x' is not allowed"),
        ("a: 1\nb: *x\n", 2, 4, "alias (*) 'x' is not allowed"),
        ("a: !!str x\n", 1, 4, "tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: !x y\n", 1, 4, "tag '!x' is not allowed"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' is already set in line 1"),
        ("[a]: 1\n", 1, 1, "a key must be a word"),
        ("? \n: 1\n", 1, 2, "a key must be a word"),
        ("a: \x01\n", 1, 4, "U+0001"),
        ("a: b\n  \x1b[31m\n", 2, 3, "U+001B"),
        ("a: é\u2028\n", 1, 5, "U+2028"),
        ("a: \ud800\n", 1, 4, "U+D800"),
        ('a: "\\e[31m"\n', 1, 4, "U+001B"),
        ('a: "x\\0y"\n', 1, 4, "U+0000"),
        ("a:\n\tb: 1\n", 2, 1, "indent with spaces"),
        ("a: {X: ${{ a }}}\n", 1, 9, "must be quoted here"),
        ("a: ${{ x: y }}\n", 1, 9, "must be quoted here"),
        ("a: @b\n", 1, 4, "quote the value"),
        ("a: 'x\n", 2, 1, "begins in line 1"),
        ("a: " + "9" * 50 + "\n", 1, 4, "too many digits"),
        ("[" * 70 + "\n", 1, 65, "64 levels"),
    ],
)
def test_what_is_not_allowed_is_reported_at_its_place(text: str, line: int, column: int, words: str) -> None:
    _, problems = read(text)
    assert problems[0][:2] == (line, column)
    assert words in problems[0][2]


def test_limits_hold_while_reading() -> None:
    _, problems = read("[" + "[]," * 150_000 + "]")
    assert "200000 elements" in problems[0][2]
    _, problems = read("a" * (1024 * 1024 + 1))
    assert "1 MiB" in problems[0][2]
    _, problems = read("".join(f"a{i}: &x 1\n" for i in range(5000)))
    assert len(problems) == 100


def test_documents_are_told_apart_and_empty_ones_left_out() -> None:
    assert read("a: 1\n---\n---\n# nothing\n---\nb: 2\n...\n") == ([{"a": 1}, {"b": 2}], [])
    text = "# first\na: 1\n---\nb: 2\n"
    documents = tree.read(text, lambda place, message: None)
    assert [text[document.start :][:7] for document in documents] == ["# first", "---\nb: "]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1, max_size=5), inner),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=5), VALUES, min_size=1, max_size=5))
def test_json_reads_as_itself(value: dict[str, object]) -> None:
    assert read(json.dumps(value, ensure_ascii=False)) == ([value], [])


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t?~1.", max_size=60))
def test_any_text_is_read_or_reported(text: str) -> None:
    documents, problems = read(text)
    try:
        loaded = list(yaml.compose_all(text, yaml.CSafeLoader))
    except yaml.YAMLError:
        assert problems
    else:
        assert problems or len(documents) <= len(loaded)
