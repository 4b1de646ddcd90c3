"""The JSON Schema of pipeline files, and what it says of each key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.problems import key_names
from gamenode_pipelines.schema import explain, json_schema


def test_the_schema_has_every_key_with_a_description() -> None:
    for pattern, names in key_names():
        path = ".".join(part for part in pattern if part != "*")
        assert set(explain(path).keys) == set(names)
        assert all(explain(path).keys.values()), path


def test_the_schema_is_whole() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"].endswith("2020-12/schema")
    definitions = schema["$defs"]

    def walk(node: object) -> None:
        if isinstance(node, Mapping):
            if "$ref" in node:
                assert node["$ref"].removeprefix("#/$defs/") in definitions
            if node.get("type") == "object" and "properties" in node:
                assert node["additionalProperties"] is False
            assert node.get("type") != "null"
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    assert schema["required"] == ["pipeline", "steps"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", {"type": "mapping", "required": True}),
        ("steps", {"type": "list of mapping", "required": True}),
        ("steps.retry.attempts", {"type": "integer", "required": False, "default": "3"}),
        ("finally.run", {"type": "string or list of string", "required": False}),
        ("on_lost", {"type": "wait | fail | retry", "default": "wait"}),
        ("targets.count", {"type": "integer or all", "default": "all"}),
        ("params.type", {"default": "string"}),
        ("timeout", {"type": "string or number", "default": ""}),
    ],
)
def test_a_key_is_explained(path: str, expected: dict[str, Any]) -> None:
    explanation = explain(path)
    assert explanation.description
    assert {name: getattr(explanation, name) for name in expected} == expected


def test_an_unknown_key_is_not_found() -> None:
    with pytest.raises(GameNodeError) as caught:
        explain("steps.retri")
    assert (caught.value.code, "did you mean 'retry'" in caught.value.message) == (Code.NOT_FOUND, True)


def test_each_kind_has_the_schema_of_its_fields() -> None:
    schema = json_schema()
    step = schema["$defs"]["StepSpec"]
    assert step["properties"]["uses"]["enum"] == list(KINDS)
    assert [rule["if"]["properties"]["uses"]["const"] for rule in step["allOf"]] == list(KINDS)
    for name, kind in KINDS.items():
        own = schema["$defs"][name]
        fields = {field: entry for field, entry in kind.fields.items() if not entry.later}
        assert set(own["properties"]) == set(fields)
        assert own.get("required", []) == [field for field, entry in fields.items() if entry.required]
        assert all(properties["description"] for properties in own["properties"].values())
    assert "pattern" in schema["$defs"]["container.run"]["properties"]["shm_size"]["anyOf"][-1]
